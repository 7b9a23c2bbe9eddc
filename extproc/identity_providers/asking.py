"""One question to an identity provider: HTTPS only, no redirects, within a time, and no more read than it may say.

Plain HTTP is for the loopback only. A provider that does not answer is told apart from one whose answer makes no sense:
asking again helps with the first only. Cookies are not kept: one person's would go along with the next one's question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2
import msgspec

from extproc.errors import LoginFailed
from extproc.policy.sso import Reason, is_safe

MAX_ANSWER_BYTES = 256 * 1024
SECONDS = 10.0
_JSON = {"accept": "application/json"}


class Asking:
    """A client for the identity providers of one process; its connections are made when they are needed."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._client: httpx2.AsyncClient | None = None

    async def get(self, url: str) -> dict[str, Any]:
        """The JSON object at an address. Raises `LoginFailed`."""
        status, found = await self._ask("GET", url)
        if status >= 500 or status == 429:
            raise LoginFailed(Reason.PROVIDER_DOWN)
        if status != 200:
            raise LoginFailed(Reason.PROVIDER_ANSWER)
        return found

    async def post(
        self, url: str, form: Mapping[str, str], auth: tuple[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The status and the JSON object that a form is answered with. Raises `LoginFailed`."""
        return await self._ask("POST", url, data=dict(form), **({} if auth is None else {"auth": auth}))

    async def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self, method: str, url: str, **request: Any) -> tuple[int, dict[str, Any]]:
        if not is_safe(url):
            raise LoginFailed(Reason.PROVIDER_ANSWER)
        try:
            async with asyncio.timeout(self._seconds):
                status, body = await self._answer(method, url, request)
        except (TimeoutError, httpx2.HTTPError, httpx2.InvalidURL):
            raise LoginFailed(Reason.PROVIDER_DOWN) from None
        return status, _object(status, body)

    async def _answer(self, method: str, url: str, request: dict[str, Any]) -> tuple[int, bytes]:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                timeout=self._seconds,
                follow_redirects=False,
                trust_env=False,
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            )
        body = bytearray()
        async with self._client.stream(method, url, headers=_JSON, **request) as response:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise LoginFailed(Reason.PROVIDER_ANSWER)
            return response.status_code, bytes(body)


def _object(status: int, body: bytes) -> dict[str, Any]:
    """What an error says does not matter, so that it need not be JSON."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    if status == 200:
        raise LoginFailed(Reason.PROVIDER_ANSWER)
    return {}
