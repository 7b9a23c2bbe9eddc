"""What the fields of a configuration file are made of: shapes and types that every section shares."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field

#: US dollars. Above a dollar a token it is surely the price of a million tokens, and would be billed a million times.
MAX_DOLLARS_PER_TOKEN = 1

T = TypeVar("T")


def no_boolean(value: object) -> object:
    """YAML's `true` is no number, though Python's is."""
    if isinstance(value, bool):
        raise ValueError("expected a number")  # noqa: TRY004 - pydantic turns only ValueErrors into messages
    return value


def _empty_if_null(value: object) -> object:
    return {} if value is None else value


Section = Annotated[T, BeforeValidator(_empty_if_null)]
Text = Annotated[str, Field(min_length=1)]
#: A secret or a reference to one. Never shown by an error of ours.
Secret = Annotated[str, Field(min_length=1)]
Price = Annotated[
    Decimal, Field(strict=False, ge=0, le=MAX_DOLLARS_PER_TOKEN, allow_inf_nan=False), BeforeValidator(no_boolean)
]
RequestPrice = Annotated[Decimal, Field(strict=False, ge=0, le=1_000, allow_inf_nan=False), BeforeValidator(no_boolean)]
Seconds = Annotated[Decimal, Field(strict=False, ge=0, le=31_536_000, allow_inf_nan=False), BeforeValidator(no_boolean)]
Megabytes = Annotated[Decimal, Field(strict=False, gt=0, le=1_024, allow_inf_nan=False), BeforeValidator(no_boolean)]
Whole = Annotated[int, Field(ge=0, le=2**53 - 1)]
Dollars = Annotated[
    Decimal, Field(strict=False, ge=0, le=1_000_000_000, allow_inf_nan=False), BeforeValidator(no_boolean)
]
#: What pydantic puts into the path of a mistake where one thing or a list may stand; nothing of the file.
ONE, MANY = "<one>", "<many>"
ONE_OR_MANY = Discriminator(lambda value: MANY if isinstance(value, list) else ONE)
#: How sure a recognizer must be, as in Presidio.
Score = Annotated[Decimal, Field(strict=False, ge=0, le=1, allow_inf_nan=False), BeforeValidator(no_boolean)]


class Checked(BaseModel):
    """A mapping of the file. Fields that are not declared are kept in `model_extra`."""

    model_config = ConfigDict(
        extra="allow", strict=True, frozen=True, hide_input_in_errors=True, protected_namespaces=()
    )
