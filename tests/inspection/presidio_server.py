"""A small Presidio analyzer: real HTTP, and findings as the test wants them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

#: The body of the answer to a question, or what to do in place of an answer.
Answer = Callable[[dict[str, Any]], "list[dict[str, Any]] | bytes | None"]
NAMES = ("Ann Lee", "Bob", "Zoë 😀 Quinn")


def finds(*names: str, entity: str = "PERSON", score: float = 0.85) -> Answer:
    """Finds these names wherever they stand."""

    def answer(question: dict[str, Any]) -> list[dict[str, Any]]:
        text = question["text"]
        return [
            {"start": at, "end": at + len(name), "entity_type": entity, "score": score, "analysis_explanation": None}
            for name in names
            for at in range(len(text))
            if text.startswith(name, at)
        ]

    return answer


class Presidio:
    """`answer` may be changed at any time; `None` as an answer means silence."""

    def __init__(self) -> None:
        self.answer: Answer = finds(*NAMES)
        self.status = 200
        self.questions: list[dict[str, Any]] = []
        self.base = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line.split(b":")[1])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                question = json.loads(await reader.readexactly(length))
                self.questions.append(question | {"path": head.split()[1].decode()})
                found = self.answer(question)
                if found is None:
                    await asyncio.Event().wait()
                body = found if isinstance(found, bytes) else json.dumps(found).encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (self.status, len(body)) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def presidio() -> AsyncIterator[Presidio]:
    found = Presidio()
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        await found.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    found.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
