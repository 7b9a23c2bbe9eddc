"""The types of single fields in requests: bounded, and such that every database can store them.

Unknown fields are ignored and a blank id is none, as in LiteLLM. A wrong type is a 422; a value that has the right type
and still cannot be (a negative budget, a duration that is none) is a 400 and found by the endpoint.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

MAX_TEXT = 256
MAX_LIST = 500
#: A key is kept in memory by the data path: what is attached to it stays small.
MAX_ATTACHED_BYTES = 64 * 1024


def _storable(text: str) -> str:
    """PostgreSQL's texts cannot hold a NUL."""
    if "\0" in text:
        raise PydanticCustomError("string_nul", "String should not contain a NUL character")
    return text


def _not_a_bool(value: object) -> object:
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_storable)]
#: An id: a blank one is none.
Id = Annotated[Text | None, BeforeValidator(_blank_is_none)]
Limit = Annotated[int, BeforeValidator(_not_a_bool), Field(ge=0, le=2**53 - 1)]
Texts = Annotated[list[Text], Field(max_length=MAX_LIST)]
Limits = dict[Text, Limit]
#: A raw key (`sk-…`), or its digest where one exists already.
KeyOrDigest = Annotated[str, Field(min_length=1, max_length=512, examples=["sk-…"]), AfterValidator(_storable)]
AskedKey = Annotated[KeyOrDigest | None, BeforeValidator(_blank_is_none)]
