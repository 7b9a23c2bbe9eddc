"""LiteLLM's callbacks: whom it tells of each exchange. Here Prometheus may always ask, and nobody else is told."""

from __future__ import annotations

from collections.abc import Iterator

from extproc.settings.document import Document
from extproc.settings.schema import Configuration

_LISTS = ("callbacks", "success_callback", "failure_callback")


def unsupported(file: Configuration, found: Document) -> Iterator[str]:
    """A line for each that has no effect."""
    for setting in _LISTS:
        for name in getattr(file.litellm_settings, setting):
            if name != "prometheus":
                where = found.at_value(("litellm_settings", setting))
                yield f"{where}: litellm_settings.{setting}: {name} is not supported; /metrics is for Prometheus"
