"""Dollars as people write them, nanos as we keep them.

A JSON number arrives as a float; its shortest decimal form is what was written, so it is exact to fifteen digits. What
is finer than a nano is rounded to the nearest one.
"""

from __future__ import annotations

from decimal import Decimal, DecimalException
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from extproc.model import NANOS_PER_DOLLAR, Nanos

#: A budget beyond it is a slip of the pen, and its nanos would come near the end of 64 bits.
_MOST_DOLLARS = 1_000_000_000
_LONGEST_TEXT = 64


def to_nanos(value: object) -> Nanos:
    """Dollars given as a number, or as a text that is one. Raises pydantic's error for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _no_money()
    text = str(value)
    if len(text) > _LONGEST_TEXT:
        raise _no_money()
    try:
        dollars = Decimal(text)
        if not dollars.is_finite() or abs(dollars) > _MOST_DOLLARS:
            raise _no_money()
        return int((dollars * NANOS_PER_DOLLAR).to_integral_value())
    except DecimalException:
        raise _no_money() from None


def to_dollars(nanos: Nanos | None) -> float | None:
    """The nearest JSON number; `None` stays `None`."""
    return None if nanos is None else nanos / NANOS_PER_DOLLAR


def _no_money() -> PydanticCustomError:
    return PydanticCustomError("dollars", "Input should be a number of US dollars, at most a billion")


def _not_negative(nanos: Nanos) -> Nanos:
    if nanos < 0:
        raise PydanticCustomError("greater_than_equal", "Input should be greater than or equal to 0")
    return nanos


_SCHEMA = WithJsonSchema({"type": "number", "description": "US dollars"})
#: A field that takes dollars and holds nanos; negative ones are for the endpoint to refuse.
Dollars = Annotated[Nanos, BeforeValidator(to_nanos), _SCHEMA]
#: The same, where a negative one is a wrong type.
SomeDollars = Annotated[Nanos, BeforeValidator(to_nanos), AfterValidator(_not_negative), _SCHEMA]
#: The same, kept as the number to show again.
ShownDollars = Annotated[
    float, BeforeValidator(to_nanos), AfterValidator(_not_negative), AfterValidator(to_dollars), _SCHEMA
]
