"""Days in requests, and rows of sums as LiteLLM shows them.

Days are UTC, as in LiteLLM. A range is of at most `MOST_DAYS` days: what an answer may cost is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, TypeAlias

from fastapi import Query

from extproc.management.errors import bad_request
from extproc.management.money import to_dollars
from extproc.management.parts import ManagementParts
from extproc.policy.roles import Sight
from extproc.stores.spending import SpendSum, SumFilter, Whose

#: Two years, leap days included.
MOST_DAYS = 732
#: The most sums that one answer is made of; beyond it a range has to be shorter.
MOST_SUMS = 50_000

#: By its digest, the metadata that is shown of a key; a key that is gone has none.
KeysNamed: TypeAlias = Mapping[str, Mapping[str, str | None]]
UNKNOWN_KEY: Mapping[str, str | None] = {"key_alias": None, "team_id": None}

FirstDay = Annotated[str | None, Query(alias="start_date", max_length=64, description="The first day, UTC: YYYY-MM-DD")]
LastDay = Annotated[str | None, Query(alias="end_date", max_length=64, description="The last day, which counts whole")]


def between(first: str | None, last: str | None) -> tuple[str, str]:
    """Two days that are given, in order and not too far apart. Raises `Refused` (400)."""
    if not first or not last:
        raise bad_request("Please provide start_date and end_date", "end_date" if first else "start_date")
    begin, end = _day(first, "start_date"), _day(last, "end_date")
    if end < begin:
        raise bad_request("end_date is before start_date.", "end_date")
    if (end - begin).days >= MOST_DAYS:
        raise bad_request(f"At most {MOST_DAYS} days can be asked for at once.", "start_date")
    return begin.isoformat(), end.isoformat()


def days_or(parts: ManagementParts, first: str | None, last: str | None, days: int = 30) -> tuple[str, str]:
    """The same; without days, the last so many."""
    if first or last:
        return between(first, last)
    today = datetime.fromtimestamp(parts.now() / 1_000, UTC).date()
    return (today - timedelta(days=days - 1)).isoformat(), today.isoformat()


def _day(text: str, param: str) -> date:
    try:
        return date.fromisoformat(text) if len(text) == len("2026-11-23") else datetime.fromisoformat(text).date()
    except ValueError:
        raise bad_request(f"Invalid date format for {param}. Expected: YYYY-MM-DD", param) from None


def whose(sight: Sight) -> Whose | None:
    """What a caller is shown, as the ledger asks for it."""
    if sight.all:
        return None
    return Whose(digest=sight.digest, user_id=sight.user_id, team_ids=sight.team_ids)


async def sums(parts: ManagementParts, by: tuple[str, ...], wanted: SumFilter) -> tuple[SpendSum, ...]:
    """All of them. Raises `Refused` (400) where there are too many for one answer."""
    found = await parts.ledger.sums(by, wanted, limit=MOST_SUMS + 1)
    if len(found) > MOST_SUMS:
        raise bad_request("That is too much for one answer: ask for fewer days, or filter.", "start_date")
    return found


async def keys_named(parts: ManagementParts, digests: Iterable[str | None]) -> KeysNamed:
    """LiteLLM's metadata of those of these keys that there are."""
    found = await parts.keys.named(sorted({digest for digest in digests if digest}))
    return {digest: {"key_alias": alias, "team_id": team_id} for digest, (alias, team_id) in found.items()}


def metrics(found: SpendSum) -> dict[str, Any]:
    """LiteLLM's `SpendMetrics`."""
    return {
        "spend": to_dollars(found.spend),
        "prompt_tokens": found.input_tokens,
        "completion_tokens": found.output_tokens,
        "cache_read_input_tokens": found.cache_read_tokens,
        "cache_creation_input_tokens": found.cache_write_tokens,
        "total_tokens": found.input_tokens + found.output_tokens,
        "successful_requests": found.successful_requests,
        "failed_requests": found.failed_requests,
        "api_requests": found.successful_requests + found.failed_requests,
    }


def plus(one: SpendSum, other: SpendSum) -> SpendSum:
    """Both together, named as the first is."""
    return SpendSum(
        by=one.by,
        successful_requests=one.successful_requests + other.successful_requests,
        failed_requests=one.failed_requests + other.failed_requests,
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        cache_write_tokens=one.cache_write_tokens + other.cache_write_tokens,
        spend=one.spend + other.spend,
    )
