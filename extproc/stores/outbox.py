"""Receipts on disk before they are booked: an append-only log of segments with a group-committed flush.

Strategy. `append` queues a receipt and gives a future; one writer thread takes everything queued, writes it with one
`write`, makes it durable with one `fdatasync`, and then resolves the futures: under load one flush serves many
exchanges. Segments are allocated to their full size *before* they are used, and the next one is always ready, so a full
disk is noticed while there is still room for every exchange in flight: the outbox stops `accepting`, and nothing that
was admitted is lost. (SQLite in WAL mode costs twice the CPU for each flush, see docs/decisions.md.)

Reading is by cursor: `read` gives durable receipts from a cursor on, `discard` removes the segments before one. What
was read but not discarded is read again after a restart; booking is idempotent. One process owns a directory.

What cannot be read (`outbox_records`) is passed over, and its segment is not removed but set aside under another name,
which takes no room on a disk that may be full. Under its old name it would be read, and booked, again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec

from extproc.errors import ConfigError, OutboxFull
from extproc.model import Receipt
from extproc.stores import outbox_records

logger = logging.getLogger(__name__)

RECEIPTS, BAD = ".receipts", ".bad"

SEGMENT_BYTES = 8 * 1024 * 1024
#: Kept free in the last segment while no further one can be allocated: room for the exchanges in flight.
RESERVE_BYTES = 4 * 1024 * 1024
RETRY_SECONDS = 0.5

_Pending: TypeAlias = "tuple[bytes, asyncio.Future[None]]"


class Cursor(msgspec.Struct, frozen=True, order=True):
    """A place in the log: segment number, then byte offset."""

    segment: int
    offset: int


class _Segment:
    """One file, allocated to its full size before the first byte is written."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.number = int(path.stem)
        self.size = size
        self.offset = 0
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(self._file, 0, size)
            os.fsync(self._file)
        except OSError:
            self.remove()
            raise

    def write(self, records: bytes) -> None:
        """Durable when it returns. A failed write leaves the offset, so that a retry overwrites what was torn."""
        view = memoryview(records)
        written = 0
        while written < len(view):
            written += os.pwrite(self._file, view[written:], self.offset + written)
        os.fdatasync(self._file)
        self.offset += written

    def fits(self, records: bytes) -> bool:
        return self.offset + len(records) <= self.size

    def close(self) -> None:
        os.close(self._file)

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)


class Outbox:
    """One directory of segments. Create it inside a running event loop; end it with `stop`, then `close`.

    Raises `ConfigError` where another process owns the directory, `OutboxFull` where there is no room to begin.
    """

    def __init__(
        self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, reserve_bytes: int = RESERVE_BYTES
    ) -> None:
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._reserve_bytes = reserve_bytes
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._failing = False
        self.waiting = 0
        #: Places that cannot be read, each told of once.
        self._bad: set[Cursor] = set()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(directory)
        numbers = _numbers(directory, RECEIPTS)
        # What was set aside keeps its number, so that nothing takes its name.
        self._next_number = max((0, *numbers, *_numbers(directory, BAD))) + 1
        self.first = Cursor(min(numbers, default=self._next_number), 0)
        current = self._allocate()
        if current is None:
            os.close(self._lock)
            raise OutboxFull(f"no room for {segment_bytes} bytes in {directory}")
        self._current = current
        self._spare = self._allocate()
        self._durable = Cursor(current.number, 0)
        self._thread = threading.Thread(target=self._write_until_closed, name="outbox", daemon=True)
        self._thread.start()

    @property
    def accepting(self) -> bool:
        """Whether one more exchange may be promised a receipt."""
        if self._failing:
            return False
        return self._spare is not None or self._current.size - self._current.offset > self._reserve_bytes

    @property
    def durable(self) -> Cursor:
        """Everything before this place is on disk."""
        return self._durable

    @property
    def unreadable(self) -> int:
        """How many places were found that cannot be read."""
        return len(self._bad)

    def append(self, receipt: Receipt) -> asyncio.Future[None]:
        """Queue a receipt; the future ends when it is durable. Call from the event loop's thread."""
        future = self._loop.create_future()
        record = outbox_records.record(receipt)
        self.waiting += 1
        self._queue.put((record, future))
        return future

    def read(self, cursor: Cursor, limit: int, until: int | None = None) -> tuple[list[Receipt], Cursor]:
        """At most `limit` durable receipts from `cursor` on, none of segment `until`, and where to go on. Blocks on the
        disk."""
        receipts: list[Receipt] = []
        while len(receipts) < limit and cursor < (durable := self._durable) and cursor.segment != until:
            end = durable.offset if cursor.segment == durable.segment else None
            start = cursor.offset
            for receipt, behind in outbox_records.found(self._bytes(cursor, end)):
                if receipt is None:
                    self._pass_over(cursor, start + behind)
                else:
                    receipts.append(receipt)
                cursor = Cursor(cursor.segment, start + behind)
                if len(receipts) == limit:
                    return receipts, cursor
            if end is not None:
                break
            cursor = Cursor(cursor.segment + 1, 0)
        return receipts, cursor

    def discard(self, cursor: Cursor) -> None:
        """Remove every segment before the cursor's: all that they held is booked."""
        for number in range(self.first.segment, min(cursor.segment, self._durable.segment)):
            self._remove(number)
        self.first = max(self.first, Cursor(cursor.segment, 0))

    def stop(self) -> None:
        """Make everything queued durable and end the writer; nothing may be appended afterwards. Blocks on the disk."""
        self._queue.put(None)
        self._thread.join()

    def close(self, booked: Cursor) -> None:
        """After `stop`: give the directory back and, where everything is booked, leave no segment behind."""
        if self._spare is not None:
            self._spare.remove()
        if booked >= self._durable:
            self.discard(booked)
            self._remove(self._current.number)
        self._current.close()
        os.close(self._lock)

    # -- the writer thread ---------------------------------------------------------------------------------------------

    def _write_until_closed(self) -> None:
        open_ = True
        while open_:
            batch, open_ = self._next_batch()
            if batch:
                self._write_until_durable(batch)
            if self._spare is None and open_:
                self._spare = self._allocate()

    def _next_batch(self) -> tuple[list[_Pending], bool]:
        """Everything queued, after waiting for the first; `False` where nothing more will come."""
        batch: list[_Pending] = []
        with contextlib.suppress(queue.Empty):
            pending = self._queue.get(timeout=RETRY_SECONDS if self._spare is None else None)
            while pending is not None:
                batch.append(pending)
                pending = self._queue.get_nowait()
            return batch, False
        return batch, True

    def _write_until_durable(self, batch: list[_Pending]) -> None:
        for part in _parts(batch, self._segment_bytes):
            while not self._try_write(b"".join(record for record, _ in part)):
                self._failing = True
                threading.Event().wait(RETRY_SECONDS)
            self._failing = False
            self._durable = Cursor(self._current.number, self._current.offset)
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._resolve, [future for _, future in part])

    def _try_write(self, records: bytes) -> bool:
        try:
            if not self._current.fits(records):
                spare = self._spare or self._allocate()
                if spare is None:
                    return False
                self._current.close()
                self._current, self._spare = spare, None
            self._current.write(records)
        except OSError:
            return False
        return True

    def _allocate(self) -> _Segment | None:
        try:
            segment = _Segment(self._path(self._next_number), self._segment_bytes)
        except OSError:
            return None
        self._next_number += 1
        return segment

    def _resolve(self, futures: list[asyncio.Future[None]]) -> None:
        self.waiting -= len(futures)
        for future in futures:
            if not future.done():  # a cancelled exchange waits no longer; its receipt is kept all the same
                future.set_result(None)

    def _bytes(self, cursor: Cursor, end: int | None) -> bytes:
        """A segment's from the cursor on, up to `end`."""
        try:
            with self._path(cursor.segment).open("rb") as file:
                file.seek(cursor.offset)
                return file.read(-1 if end is None else end - cursor.offset)
        except FileNotFoundError:
            return b""

    def _pass_over(self, place: Cursor, behind: int) -> None:
        if place in self._bad:
            return
        self._bad.add(place)
        told = {"outbox": self._directory.name, "segment": place.segment, "offset": place.offset}
        logger.error("receipt_unreadable", extra={**told, "bytes": behind - place.offset})

    def _remove(self, number: int) -> None:
        """What was in this segment is booked, or cannot be read."""
        path = self._path(number)
        if any(place.segment == number for place in self._bad):
            with contextlib.suppress(FileNotFoundError):
                path.rename(path.with_suffix(BAD))
        else:
            path.unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:010d}{RECEIPTS}"


def set_aside(outboxes: Path) -> int:
    """How many segments with what cannot be read there are in the directories in this one."""
    return sum(1 for _ in outboxes.glob(f"*/*{BAD}"))


def _parts(batch: list[_Pending], size: int) -> Iterator[list[_Pending]]:
    """The batch in pieces that fit a segment."""
    part: list[_Pending] = []
    length = 0
    for pending in batch:
        if part and length + len(pending[0]) > size:
            yield part
            part, length = [], 0
        part.append(pending)
        length += len(pending[0])
    yield part


def _numbers(directory: Path, suffix: str) -> list[int]:
    return [int(path.stem) for path in directory.glob(f"*{suffix}")]


def _lock(directory: Path) -> int:
    file = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise ConfigError(f"{directory} belongs to another running process") from None
    return file
