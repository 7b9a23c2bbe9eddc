"""How long a key lives, and when a budget begins anew: durations and the calendar of a time zone.

A duration is `<count><unit>` with a unit of the table below, read as a whole (LiteLLM's pattern is not anchored, so
its `1h30m` means an hour). Budget windows follow the calendar as LiteLLM's do: a day ends at midnight, seven days with
Sunday, thirty days or a month with the month. Two of LiteLLM's slips are not copied: `48h` ends at a multiple of 48
hours, not at the next midnight, and `2mo` is two months, not an error.

A window is *found*, never stored: it follows from the duration, the moment and, where the calendar does not say where
windows begin (every 3 days, every 2 months), from one reset that is known. So a reset needs no job, and two workers
always agree. Hours, minutes and seconds count from the epoch; days and months are the time zone's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

import msgspec

from extproc.model import UnixMs

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_GRAMMAR = re.compile(r"([0-9]{1,10})(s|m|h|d|w|mo)", re.ASCII)
#: LiteLLM's words for common budget windows.
_WORDS = {"hourly": "1h", "daily": "24h", "weekly": "7d", "monthly": "30d"}
_WEEK_DAYS = 7
_DAY_MS = 86_400_000
_MONTH_LIKE_DAYS = 30
#: A longer one is a slip of the pen, and would leave the calendar.
_LONGEST_SECONDS = 100 * 366 * 86_400


class Duration(msgspec.Struct, frozen=True):
    """A count, at least 1, of one of the units `s m h d w mo`."""

    count: int
    unit: str


def parse(text: str) -> Duration:
    """Read `30d`, `12h`, `1mo`, or a word such as `daily`. Raises `ValueError` with a sentence for a person."""
    found = _GRAMMAR.fullmatch(_WORDS.get(text, text))
    if found is None:
        raise ValueError("a duration is a whole number and one of s, m, h, d, w or mo, such as 30d")
    duration = Duration(int(found[1]), found[2])
    if duration.count == 0:
        raise ValueError("a duration must be longer than nothing")
    if duration.count * _SECONDS[duration.unit] > _LONGEST_SECONDS:
        raise ValueError("a duration may not be longer than 100 years")
    return duration


def expiry(duration: Duration, now: UnixMs) -> UnixMs:
    """The moment one duration after `now`. A month is a calendar month, cut to that month's last day."""
    if duration.unit != "mo":
        return now + duration.count * _SECONDS[duration.unit] * 1_000
    moment = _datetime(now)
    first = _months_after(_midnight(moment).replace(day=1), duration.count)
    last_day = (_months_after(first, 1) - timedelta(days=1)).day
    return now + _unix_ms(first.replace(day=min(moment.day, last_day))) - _unix_ms(_midnight(moment))


def next_reset(duration: Duration, now: UnixMs, zone: tzinfo = UTC) -> UnixMs:
    """When the first budget window of something made at `now` ends; always later than `now`."""
    if (length := _fixed_length(duration)) is not None:
        return (now // length + 1) * length
    midnight = _midnight(_datetime(now, zone))
    if months := _months(duration):
        return _unix_ms(_months_after(midnight.replace(day=1), months))
    if _days(duration) == _WEEK_DAYS:
        return _unix_ms(_days_after(midnight, _WEEK_DAYS - midnight.weekday()))
    return _unix_ms(_days_after(midnight, _days(duration)))


def window(duration: Duration, now: UnixMs, reset: UnixMs | None = None, zone: tzinfo = UTC) -> tuple[UnixMs, UnixMs]:
    """The budget window that `now` lies in: its first millisecond, and that of the next window.

    `reset` is any moment at which a window ends or begins; it matters where the calendar does not say it.
    """
    if (length := _fixed_length(duration)) is not None:
        return now // length * length, (now // length + 1) * length
    today = _midnight(_datetime(now, zone))
    anchor = _midnight(_datetime(reset or 0, zone))
    if months := _months(duration):
        passed = (_month_number(today) - _month_number(anchor)) % months
        start = _months_after(today.replace(day=1), -passed)
        return _unix_ms(start), _unix_ms(_months_after(start, months))
    days = _days(duration)
    passed = today.weekday() if days == _WEEK_DAYS else (today.date() - anchor.date()).days % days
    start = _days_after(today, -passed)
    return _unix_ms(start), _unix_ms(_days_after(start, days))


def most_ms(text: str) -> int:
    """What no window of this duration is longer than, in milliseconds: months have 31 days, and some days 25 hours.

    Raises `ValueError` as `parse` does.
    """
    duration = parse(text)
    return duration.count * _SECONDS[duration.unit] * 1_100 + _DAY_MS


def _fixed_length(duration: Duration) -> int | None:
    """Milliseconds, for units that are always equally long."""
    return duration.count * _SECONDS[duration.unit] * 1_000 if duration.unit in {"s", "m", "h"} else None


def _months(duration: Duration) -> int:
    """Whole months, 0 for what is counted in days."""
    if duration.unit == "mo":
        return duration.count
    return 1 if _days(duration) == _MONTH_LIKE_DAYS else 0


def _days(duration: Duration) -> int:
    return duration.count * (_WEEK_DAYS if duration.unit == "w" else 1)


def _datetime(moment: UnixMs, zone: tzinfo = UTC) -> datetime:
    return datetime.fromtimestamp(moment // 1_000, zone)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def _days_after(midnight: datetime, days: int) -> datetime:
    """By the calendar: a day on which the clocks change is a day too."""
    return midnight + timedelta(days=days)


def _month_number(moment: datetime) -> int:
    return moment.year * 12 + moment.month


def _months_after(first_of_month: datetime, months: int) -> datetime:
    years, month = divmod(first_of_month.month - 1 + months, 12)
    return first_of_month.replace(year=first_of_month.year + years, month=month + 1)


def _unix_ms(moment: datetime) -> UnixMs:
    return int(moment.timestamp()) * 1_000
