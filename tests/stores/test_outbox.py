"""Receipts are durable before they are acknowledged, survive crashes, and a full disk is noticed in time."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extproc.errors import ConfigError, OutboxFull
from extproc.model import Receipt, Usage
from extproc.stores import outbox as module
from extproc.stores.outbox import Cursor, Outbox

SMALL = 4096


def receipt(number: int, padding: int = 0) -> Receipt:
    return Receipt(
        event_id=f"event-{number}",
        call_id="call",
        key_digest="digest",
        started_at=1,
        ended_at=2,
        operation="acompletion",
        path="/v1/chat/completions",
        model_group="gpt-4o",
        model="gpt-4o",
        model_id="id",
        provider="openai",
        api_base="https://api.openai.com/v1",
        http_status=200,
        status="success",
        stream=True,
        usage=Usage(input_tokens=number, output_tokens=1),
        spend=number,
        user_agent="x" * padding,
    )


def end(outbox: Outbox, booked: Cursor | None = None) -> None:
    outbox.stop()
    outbox.close(booked or Cursor(0, 0))


def everything(outbox: Outbox) -> list[str]:
    receipts, _ = outbox.read(outbox.first, 1_000_000)
    return [receipt.event_id for receipt in receipts]


async def test_an_acknowledged_receipt_is_read_back(tmp_path):
    outbox = Outbox(tmp_path)
    await outbox.append(receipt(1))

    receipts, behind = outbox.read(outbox.first, 10)

    assert receipts == [receipt(1)]
    assert behind == outbox.durable
    end(outbox)


async def test_an_acknowledged_receipt_is_there_after_a_crash(tmp_path):
    crashed = Outbox(tmp_path)
    await asyncio.gather(*(crashed.append(receipt(number)) for number in range(50)))
    os.close(crashed._lock)  # what the kernel does for a killed process

    outbox = Outbox(tmp_path)

    assert everything(outbox) == [f"event-{number}" for number in range(50)]
    end(outbox)
    crashed.stop()


async def test_what_is_booked_is_gone_after_a_clean_end(tmp_path):
    outbox = Outbox(tmp_path)
    await outbox.append(receipt(1))
    _, behind = outbox.read(outbox.first, 10)

    end(outbox, behind)

    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


async def test_what_is_not_booked_stays_after_a_clean_end(tmp_path):
    outbox = Outbox(tmp_path)
    await outbox.append(receipt(1))
    end(outbox)

    again = Outbox(tmp_path)

    assert everything(again) == ["event-1"]
    end(again)


async def test_reading_in_small_batches_crosses_segments(tmp_path):
    outbox = Outbox(tmp_path, segment_bytes=SMALL, reserve_bytes=0)
    for number in range(60):
        await outbox.append(receipt(number))
    cursor, seen = outbox.first, []

    while batch := outbox.read(cursor, 7):
        receipts, cursor = batch
        seen += [receipt.event_id for receipt in receipts]
        outbox.discard(cursor)
        if not receipts:
            break

    assert seen == [f"event-{number}" for number in range(60)]
    assert len(list(tmp_path.glob("*.receipts"))) == 2
    end(outbox, cursor)


async def test_a_torn_last_record_ends_the_segment_and_hides_nothing_before_it(tmp_path):
    crashed = Outbox(tmp_path)
    await crashed.append(receipt(1))
    whole = crashed.durable.offset
    await crashed.append(receipt(2))
    crashed.stop()
    os.close(crashed._lock)
    path = tmp_path / "0000000001.receipts"
    data = bytearray(path.read_bytes())
    data[whole + 20] ^= 0xFF
    path.write_bytes(data)

    outbox = Outbox(tmp_path)
    await outbox.append(receipt(3))

    assert everything(outbox) == ["event-1", "event-3"]
    end(outbox)


async def test_two_processes_cannot_own_one_directory(tmp_path):
    outbox = Outbox(tmp_path)

    with pytest.raises(ConfigError, match="belongs to another"):
        Outbox(tmp_path)
    end(outbox)


async def test_files_are_for_the_owner_only(tmp_path):
    outbox = Outbox(tmp_path / "new")

    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "new").iterdir())
    end(outbox)


class Disk:
    """Stands for the kernel's allocator: the same error, at the same call, as a file system without room."""

    def __init__(self, monkeypatch) -> None:
        self.full = False
        real = os.posix_fallocate

        def allocate(file, offset, length):
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(file, offset, length)

        monkeypatch.setattr(os, "posix_fallocate", allocate)


async def test_a_full_disk_stops_admission_while_receipts_still_fit(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    outbox = Outbox(tmp_path, segment_bytes=SMALL, reserve_bytes=SMALL // 2)
    disk.full = True
    appended = 0
    while outbox.accepting:
        await outbox.append(receipt(appended))
        appended += 1
    in_flight = [outbox.append(receipt(appended + number)) for number in range(3)]

    await asyncio.gather(*in_flight)

    assert everything(outbox) == [f"event-{number}" for number in range(appended + 3)]
    end(outbox)


async def test_what_does_not_fit_waits_until_there_is_room_and_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    disk = Disk(monkeypatch)
    outbox = Outbox(tmp_path, segment_bytes=SMALL, reserve_bytes=0)
    disk.full = True
    futures = [outbox.append(receipt(number)) for number in range(60)]
    async with asyncio.timeout(30):
        while outbox.accepting:
            await asyncio.sleep(0.01)
    assert not all(future.done() for future in futures)

    disk.full = False
    await asyncio.gather(*futures)

    assert everything(outbox) == [f"event-{number}" for number in range(60)]
    end(outbox)


async def test_a_disk_that_is_full_at_the_start_is_said(tmp_path, monkeypatch):
    Disk(monkeypatch).full = True

    with pytest.raises(OutboxFull, match="no room"):
        Outbox(tmp_path)
    assert not list(tmp_path.glob("*.receipts"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
async def test_a_file_system_that_is_really_full_stops_admission(tmp_path):
    mount = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path))
    assert await mount.wait() == 0
    try:
        outbox = Outbox(tmp_path / "outbox", segment_bytes=24 * 1024, reserve_bytes=8 * 1024)
        (tmp_path / "ballast").write_bytes(b"x" * (tmp_path_free(tmp_path)))
        appended = 0
        while outbox.accepting:
            await outbox.append(receipt(appended))
            appended += 1
        await outbox.append(receipt(appended))

        assert everything(outbox) == [f"event-{number}" for number in range(appended + 1)]
        end(outbox)
    finally:
        unmount = await asyncio.create_subprocess_exec("umount", "-l", str(tmp_path))
        await unmount.wait()


def tmp_path_free(path: Path) -> int:
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    paddings=st.lists(st.integers(0, 900), max_size=30),
    limit=st.integers(1, 9),
    data=st.data(),
)
def test_whatever_the_sizes_every_receipt_is_read_once_and_in_order(tmp_path_factory, paddings, limit, data):
    async def run() -> None:
        directory = tmp_path_factory.mktemp("outbox")
        outbox = Outbox(directory, segment_bytes=SMALL, reserve_bytes=0)
        cursor, seen = outbox.first, []
        for number, padding in enumerate(paddings):
            future = outbox.append(receipt(number, padding))
            if data.draw(st.booleans()):
                await future
                receipts, cursor = outbox.read(cursor, limit)
                seen += receipts
                outbox.discard(cursor)
        outbox.stop()
        rest, cursor = outbox.read(cursor, 1_000)
        outbox.close(cursor)

        assert seen + rest == [receipt(number, padding) for number, padding in enumerate(paddings)]
        assert not list(directory.glob("*.receipts"))

    asyncio.run(run())
