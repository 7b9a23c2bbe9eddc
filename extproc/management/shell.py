"""What surrounds every answer: security headers, and a last answer for what nobody foresaw.

A failure is logged with the places it passed and the kind of the error; its text may quote what a client sent, so it is
not. The client learns only that it was our fault.
"""

from __future__ import annotations

import logging
import traceback

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from extproc.management.errors import respond
from extproc.policy import refusals

logger = logging.getLogger(__name__)

#: Set where the answer does not bring its own. Answers hold keys and spend: no cache may keep them.
_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
    b"cache-control": b"no-store",
    b"vary": b"Origin",
}


class Shell:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": _dressed(message["headers"])}
            await send(message)

        try:
            await self._app(scope, receive, send_dressed)
        except Exception as error:
            _log(error)
            if started:
                raise
            await respond(refusals.NOT_PROCESSED)(scope, receive, send_dressed)


def _dressed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _ in headers}
    return [*headers, *(header for header in _HEADERS.items() if header[0] not in present)]


def _log(error: Exception) -> None:
    places = "".join(traceback.format_tb(error.__traceback__))
    logger.error("management_failed", extra={"error": type(error).__name__, "places": places})
