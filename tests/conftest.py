"""One profile for property tests: no deadline, since a shared machine's pauses say nothing about the code. And which
tests are not followed for coverage."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

#: Tests of what is not pure: following them takes half as long again, and the pure floors have tests of their own.
_NOT_FOLLOWED = {"cli", "gateway", "importing", "management", "secret_managers", "stores", "supervisor", "telemetry"}

settings.register_profile("project", deadline=None)
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in _NOT_FOLLOWED:
            item.add_marker("no_cover")
