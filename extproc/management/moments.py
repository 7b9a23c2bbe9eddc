"""Moments as LiteLLM writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from extproc.model import UnixMs


def iso(moment: UnixMs | None) -> str | None:
    """`2026-11-23T20:08:00.123Z`."""
    if moment is None:
        return None
    text = datetime.fromtimestamp(moment / 1_000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
