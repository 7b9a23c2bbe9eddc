"""The management API keeps what its description says, whoever asks and whatever is asked.

`python -m benchmarks.contract --max-examples 100` asks more of the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import contract
from benchmarks.contract import Contract


@pytest.fixture(scope="module")
def running() -> Iterator[Contract]:
    with contract.running() as found:
        yield found


def test_every_operation_keeps_its_word_for_a_key_of_each_role(running):
    operations = running.operations()
    for operation in operations:
        running.check(operation, 1)

    assert running.asked.total() >= len(operations) * len(contract.CALLERS)
    assert {200, 400, 401, 403, 404, 422} <= running.asked.keys()
