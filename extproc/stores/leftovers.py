"""Receipts of workers that are no more: where four became three, nobody starts the fourth, and its outbox waits.

The first worker books what it finds there. It goes on until all of it is booked; a worker that is still ending keeps
its outbox locked, and is waited for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from extproc.errors import ConfigError, OutboxFull
from extproc.stores.recorder import RETRY_SECONDS, Recorder

logger = logging.getLogger(__name__)


async def ship(outboxes: Path, workers: int, recorder_of: Callable[[Path], Recorder]) -> None:
    """Book what is in the outboxes of workers from number `workers` on. `recorder_of` opens one."""
    for folder in _left(outboxes, workers):
        logger.warning("booking_leftovers", extra={"outbox": folder.name})
        while not await _shipped(folder, recorder_of):  # noqa: ASYNC110 - a disk, a database, another process
            await asyncio.sleep(RETRY_SECONDS)


async def _shipped(folder: Path, recorder_of: Callable[[Path], Recorder]) -> bool:
    try:
        recorder = recorder_of(folder)
    except (ConfigError, OutboxFull):
        return False
    try:
        return await recorder.ship()
    finally:
        await recorder.close()


def _left(outboxes: Path, workers: int) -> list[Path]:
    found = outboxes.iterdir() if outboxes.is_dir() else ()
    numbered = (folder for folder in found if folder.name.isdecimal() and int(folder.name) >= workers)
    return [folder for folder in sorted(numbered) if any(folder.glob("*.receipts"))]
