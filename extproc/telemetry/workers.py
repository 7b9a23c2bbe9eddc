"""The metrics of all workers in one answer, whichever of them is asked.

Envoy leads a scrape to any worker. Each shows its own series at `OWN_PATH` of its management socket, to which Envoy has
no route and which only the owner may open; whoever is asked for all asks the others there. Every series gets a label
`worker`. One who does not answer in time is missing from the answer, and the rest is not kept waiting for it.

The text exposition format is joined as text (https://prometheus.io/docs/instrumenting/exposition_formats/): a family's
lines must stand together, below its `# HELP` and `# TYPE`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence

OWN_PATH = "/metrics/worker"
SECONDS = 1.0
MAX_BYTES = 16 * 1024 * 1024

_QUESTION = f"GET {OWN_PATH} HTTP/1.0\r\nhost: worker\r\n\r\n".encode()
_FAMILY = re.compile(rb"^(?=# HELP )", re.MULTILINE)
_LABELLED = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*){", re.MULTILINE)
_PLAIN = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*) ", re.MULTILINE)


class WorkersMetrics:
    """`own` is which worker this is, `sockets` are the management sockets of all, `render` gives the series of this
    one."""

    def __init__(self, own: int, sockets: Sequence[str], render: Callable[[], bytes]) -> None:
        self._own = own
        self._sockets = sockets
        self._render = render

    async def render(self) -> bytes:
        """The series of all workers that answer."""
        texts = await asyncio.gather(*(self._of(worker) for worker in range(len(self._sockets))))
        return together({worker: text for worker, text in enumerate(texts) if text is not None})

    async def _of(self, worker: int) -> bytes | None:
        if worker == self._own:
            return self._render()
        try:
            async with asyncio.timeout(SECONDS):
                return await _ask(self._sockets[worker])
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None


def together(texts: Mapping[int, bytes]) -> bytes:
    """The texts of workers, by number, as one text."""
    families: dict[bytes, list[bytes]] = {}
    for worker, text in texts.items():
        label = b'\\1{worker="%d"' % worker
        for family in _FAMILY.split(text):
            head, series = _apart(family)
            series = _PLAIN.sub(label + b"} ", _LABELLED.sub(label + b",", series))
            families.setdefault(head, []).append(series)
    return b"".join(head + b"".join(series) for head, series in families.items())


def _apart(family: bytes) -> tuple[bytes, bytes]:
    """The comments of a family, and its series."""
    lines = family.splitlines(keepends=True)
    count = sum(line.startswith(b"#") for line in lines)
    return b"".join(lines[:count]), b"".join(lines[count:])


async def _ask(socket: str) -> bytes | None:
    """A worker's own series; `None` where it answers anything else."""
    reader, writer = await asyncio.open_unix_connection(socket, limit=MAX_BYTES)
    try:
        writer.write(_QUESTION)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"^content-length: (\d+)\r$", head, re.IGNORECASE | re.MULTILINE)
        if b" 200 " not in head.partition(b"\r\n")[0] or length is None or int(length[1]) > MAX_BYTES:
            return None
        return await reader.readexactly(int(length[1]))
    finally:
        writer.close()
