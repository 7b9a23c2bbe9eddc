"""A Presidio analyzer, asked over HTTP: one question for each text, side by side.

Only the analyzer is needed: what is done about a finding is done here. Source: Presidio's OpenAPI document, `/analyze`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx2
import msgspec

from extproc.errors import InspectionFailed
from extproc.inspection.bounds import check_size, checked
from extproc.redaction.outside import Found

MAX_ANSWER_BYTES = 4 * 1024 * 1024
#: Questions to one server at the same time, of all exchanges of this process.
_AT_ONCE = 32
_JSON = {"content-type": "application/json"}


class _Told(msgspec.Struct):
    """A finding as it is told; places are of Unicode characters."""

    start: int
    end: int
    entity_type: str
    score: float


_answer = msgspec.json.Decoder(list[_Told])


class PresidioInspector:
    """`base` is the analyzer's address, `seconds` the time for all texts of a payload together."""

    def __init__(self, base: str, *, language: str, entities: Sequence[str], seconds: float) -> None:
        self._url = base.rstrip("/") + "/analyze"
        self._language = language
        self._entities = [*entities]
        self._seconds = seconds
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._client: httpx2.AsyncClient | None = None

    async def inspect(self, texts: Sequence[str]) -> Sequence[Sequence[Found]]:
        """The findings in each text. Raises `InspectionFailed`."""
        check_size(texts)
        asked = [asyncio.ensure_future(self._ask(text)) for text in texts]
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.gather(*asked)
        except TimeoutError:
            raise InspectionFailed("analyzer_timeout") from None
        finally:
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def close(self) -> None:
        """Let the connections go."""
        if self._client is not None:
            await self._client.aclose()

    async def _ask(self, text: str) -> Sequence[Found]:
        question = {"text": text, "language": self._language, "entities": self._entities}
        async with self._at_once:
            try:
                told = _answer.decode(await self._answer(msgspec.json.encode(question)))
            except httpx2.TimeoutException:
                raise InspectionFailed("analyzer_timeout") from None
            except (httpx2.HTTPError, httpx2.InvalidURL):
                raise InspectionFailed("analyzer_unavailable") from None
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                raise InspectionFailed("analyzer_error") from None
        return checked(text, [Found(one.start, one.end, one.entity_type, one.score) for one in told])

    async def _answer(self, question: bytes) -> bytes:
        """The body of the answer, as far as it may be read."""
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=self._seconds, trust_env=False)
        body = bytearray()
        async with self._client.stream("POST", self._url, content=question, headers=_JSON) as response:
            if response.status_code != 200:
                raise InspectionFailed("analyzer_error")
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise InspectionFailed("analyzer_error")
        return bytes(body)
