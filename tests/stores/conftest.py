"""What tests of stores share: one Redis for all of them, each in a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from running_redis import RunningRedis, running_redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RunningRedis]:
    with running_redis() as server:
        yield server
