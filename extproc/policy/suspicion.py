"""Which keys behave as a stolen one would: a score out of plain facts about the last hours and the week before. Pure.

Nothing is refused because of it; it says where to look. Each reason is a sentence that a person can check.
"""

from __future__ import annotations

import msgspec

from extproc.activity import Activity
from extproc.model import NANOS_PER_DOLLAR, Nanos, UnixMs

_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
#: So many times what is usual is unusual, and less than this is never worth a look.
_TIMES_USUAL = 5
_LEAST_SPEND = NANOS_PER_DOLLAR // 10
_LEAST_REQUESTS = 20
_LONG_SILENCE_MS = 14 * _DAY_MS
_MANY_FAILURES = 10


class Suspicion(msgspec.Struct, frozen=True):
    """A score, 0 for nothing, and a sentence for each reason."""

    score: int
    reasons: tuple[str, ...]


def judge(activity: Activity, hours: int, most_spend: Nanos, now: UnixMs) -> Suspicion:
    """How suspicious a key's last hours are. `most_spend` is what nobody should spend in them."""
    found = [
        (5, _beyond(activity, most_spend)),
        (3, _unusual_spend(activity, hours)),
        (2, _unusual_requests(activity, hours)),
        (3, _after_silence(activity, hours, now)),
        (2, _elsewhere(activity)),
        (1, _failing(activity)),
    ]
    reasons = [(weight, reason) for weight, reason in found if reason]
    return Suspicion(sum(weight for weight, _ in reasons), tuple(reason for _, reason in reasons))


def _beyond(activity: Activity, most_spend: Nanos) -> str:
    return f"spent {_dollars(activity.spend)}" if activity.spend > most_spend else ""


def _unusual_spend(activity: Activity, hours: int) -> str:
    usual = activity.usual_spend * hours
    if activity.spend < _LEAST_SPEND or activity.spend <= _TIMES_USUAL * usual or not usual:
        return ""
    return f"spent {activity.spend / usual:.0f} times as much as usual"


def _unusual_requests(activity: Activity, hours: int) -> str:
    usual = activity.usual_requests * hours
    if activity.requests < _LEAST_REQUESTS or activity.requests <= _TIMES_USUAL * usual or not usual:
        return ""
    return f"{activity.requests / usual:.0f} times as many requests as usual"


def _after_silence(activity: Activity, hours: int, now: UnixMs) -> str:
    if activity.used_before is None:
        return ""
    silent = now - hours * _HOUR_MS - activity.used_before
    return f"used again after {silent // _DAY_MS} days" if silent >= _LONG_SILENCE_MS else ""


def _elsewhere(activity: Activity) -> str:
    known = activity.addresses > len(activity.new_addresses)
    if not activity.new_addresses or activity.used_before is None:
        return ""
    more = f" and {len(activity.new_addresses) - 3} more" if len(activity.new_addresses) > 3 else ""
    where = ", ".join(activity.new_addresses[:3]) + more
    return f"{'also ' if known else ''}used from {where}, as never before"


def _failing(activity: Activity) -> str:
    if activity.failures < _MANY_FAILURES or 2 * activity.failures < activity.requests:
        return ""
    return f"{activity.failures} of {activity.requests} requests failed"


def _dollars(nanos: Nanos) -> str:
    return f"${nanos / NANOS_PER_DOLLAR:,.2f}"
