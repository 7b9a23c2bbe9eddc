"""A refusal can be asked about under both of its ids, for a while."""

from __future__ import annotations

from extproc.model import Explanation
from extproc.stores.explanations import Explained, MemoryExplanations

WHY = Explanation(
    kind="api_key", who="k", measure="requests", setting="rpm_limit", maximum=1, settled=1, held=0, asked=1
)


def refused(number: int, call_id: str = "") -> Explained:
    return Explained(
        event_id=f"e{number}", call_id=call_id or f"c{number}", key_digest="d", at=number, status=429,
        reason="requests_limited", explanation=WHY,
    )  # fmt: skip


async def test_a_refusal_is_found_by_its_event_and_by_its_call():
    kept = MemoryExplanations()
    await kept.put(refused(1))

    assert await kept.find("e1") == await kept.find("c1") == refused(1)
    assert await kept.find("e2") is None


async def test_only_the_newest_are_kept():
    kept = MemoryExplanations(kept=3)
    for number in range(10):
        await kept.put(refused(number))

    assert [number for number in range(10) if await kept.find(f"c{number}")] == [7, 8, 9]
    assert (len(kept._by_event), len(kept._events)) == (3, 3)


async def test_a_call_id_that_is_used_again_finds_the_newest():
    kept = MemoryExplanations(kept=2)
    for number in range(3):
        await kept.put(refused(number, "same"))

    found = await kept.find("same")
    assert found is not None
    assert found.event_id == "e2"
