"""A configuration file, as a test writes it, and the settings that it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc import settings
from extproc.settings.model import Settings


@pytest.fixture
def load(tmp_path: Path):
    def loader(text: str, *, strict: bool = False) -> Settings:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return settings.load(path, strict=strict)

    return loader
