"""The metrics of several workers are one text, in which every series says whose it is."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from telemetry.test_logs import OUTCOME

from extproc.telemetry import workers
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.workers import WorkersMetrics, together


def counted(exchanges: int) -> bytes:
    metrics = Metrics()
    for _ in range(exchanges):
        metrics.observe(OUTCOME, 1_000, 'a name with "quotes" {braces} and\nlines')
    metrics.watch("extproc_without_labels", "A gauge.", lambda: exchanges)
    return metrics.render()


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.startswith(("process_", "python_"))
    }


def test_every_series_of_every_worker_is_there_with_its_label():
    texts = {0: counted(1), 2: counted(3)}

    expected = {
        (name, tuple(sorted([*labels, ("worker", str(worker))]))): value
        for worker, text in texts.items()
        for (name, labels), value in samples(text).items()
    }
    assert samples(together(texts)) == expected


def test_the_lines_of_a_family_stand_together_below_one_head():
    heads = [line for line in together({0: counted(1), 1: counted(1)}).splitlines() if line.startswith(b"#")]

    assert len(heads) == len(set(heads)) > 10


def test_nobody_is_nothing():
    assert together({}) == b""


@contextlib.asynccontextmanager
async def answering(path: str, answer: bytes) -> AsyncIterator[None]:
    """A worker that says this, whatever it is asked, and closes."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(answers, path)
    async with server:
        yield


def ok(text: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(text) + text


async def gathered(tmp_path, count: int) -> set[str]:
    """Which workers are in the answer of worker 0, whose own text has one series."""
    sockets = [str(tmp_path / str(worker)) for worker in range(count)]
    text = await WorkersMetrics(0, sockets, lambda: b"up 1\n").render()
    return {line.partition('"')[2].partition('"')[0] for line in text.decode().splitlines()}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who answers is heard, however busy the machine is."""
    monkeypatch.setattr(workers, "SECONDS", 30)


async def test_the_others_are_asked(tmp_path):
    async with answering(str(tmp_path / "1"), ok(b"up 1\n")):
        assert await gathered(tmp_path, 2) == {"0", "1"}


async def test_who_is_gone_refuses_or_breaks_off_is_missing(tmp_path):
    async with (
        answering(str(tmp_path / "1"), b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"),
        answering(str(tmp_path / "2"), ok(b"up 1\n")[:-1]),
        answering(str(tmp_path / "3"), b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n"),
        answering(str(tmp_path / "4"), ok(b"up 1\n")),
    ):
        assert await gathered(tmp_path, 6) == {"0", "4"}


async def test_who_is_silent_is_not_waited_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "1"))
        silent.listen()

        assert await asyncio.wait_for(gathered(tmp_path, 2), 30) == {"0"}
