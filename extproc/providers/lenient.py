"""Reading what a provider answered without ever stumbling over it: what is not as it should be is as if absent.

The parts of an answer are read each for itself, so that an odd one costs only itself; see `Api.read_response`.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, Raw

#: A larger count is a provider's mistake, and would be a very expensive one.
MAX_TOKENS = 10**9
Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
MAX_IDENTIFIER_LENGTH = 256

T = TypeVar("T")


def decoded(decoder: msgspec.json.Decoder[T], raw: bytes | Raw) -> T | None:
    """What a decoder makes of some JSON, `None` where it makes nothing."""
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def identifier(value: object) -> str:
    """Identifiers are kept in receipts and caches, so a provider's endless one is none."""
    return value if isinstance(value, str) and len(value) <= MAX_IDENTIFIER_LENGTH else ""
