"""Request bodies, bounded: how long, how deep, how many, how slow.

They are decoded by msgspec, which refuses what the standard library lets through (`NaN`, lone surrogates, numbers out
of range). A decoding error is FastAPI's own 422 (`json_invalid`).
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import Request
from fastapi.exceptions import RequestValidationError

from extproc.management.errors import BODY_TOO_LARGE, BODY_TOO_SLOW, Refused, bad_request

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_VALUES = 20_000


class BoundedRequest(Request):
    """A request whose body is read and decoded within bounds, before anything looks at it."""

    async def load(self, seconds: float) -> None:
        """Read and decode the body, if there is one. Raises `Refused` or `RequestValidationError`."""
        try:
            async with asyncio.timeout(seconds):
                body = await self.body()
        except TimeoutError:
            raise Refused(BODY_TOO_SLOW) from None
        if body:
            self._json = decode(body)

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            content = bytearray()
            async for chunk in self.stream():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise Refused(BODY_TOO_LARGE)
            self._body = bytes(content)
        return self._body


def decode(body: bytes) -> Any:
    """A JSON document. Raises `RequestValidationError` for what is none, `Refused` for one too deep or too large."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        problem = {"type": "json_invalid", "loc": ("body",), "msg": f"JSON decode error: {error}", "input": None}
        raise RequestValidationError([problem]) from None
    except RecursionError:
        raise _too_deep() from None
    _check_shape(document)
    return document


def _check_shape(document: Any) -> None:
    level, count = [document], 0
    for _ in range(MAX_DEPTH):
        count += len(level)
        if count > MAX_VALUES:
            raise bad_request(f"The body has more than {MAX_VALUES} values.", "request_body")
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise _too_deep()


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _too_deep() -> Refused:
    return bad_request(f"The body is nested deeper than {MAX_DEPTH} levels.", "request_body")
