"""Durations are read as a whole, and windows end where the calendar says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy import windows
from extproc.policy.windows import Duration

YEAR_2000, YEAR_2100 = 946_684_800_000, 4_102_444_800_000
moments = st.integers(YEAR_2000, YEAR_2100)
durations = st.builds(Duration, st.integers(1, 1_200), st.sampled_from(["s", "m", "h", "d", "w", "mo"]))


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@given(durations)
def test_what_is_written_is_read_back(duration):
    assert windows.parse(f"{duration.count}{duration.unit}") == duration


@pytest.mark.parametrize(
    ("word", "duration"),
    [
        ("hourly", Duration(1, "h")),
        ("daily", Duration(24, "h")),
        ("weekly", Duration(7, "d")),
        ("monthly", Duration(30, "d")),
    ],
)
def test_a_word_stands_for_a_duration(word, duration):
    assert windows.parse(word) == duration


@pytest.mark.parametrize(
    "text",
    ["", "d", "30", "1h30m", "-1d", "+1d", "1.5h", "30 d", "30D", "30d\n", "٣d", "1y", "99999999999s", "0s", "0mo",
     "1221mo", "36601d", "3153600001000s"],
)  # fmt: skip
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="a duration"):
        windows.parse(text)


@pytest.mark.parametrize(
    ("duration", "now", "reset"),
    [
        ("1d", "2026-11-23 15:04:05", "2026-11-24 00:00:00"),
        ("1d", "2026-11-24 00:00:00", "2026-11-25 00:00:00"),
        ("7d", "2026-11-23 15:00:00", "2026-11-30 00:00:00"),
        ("7d", "2026-11-22 23:59:59", "2026-11-23 00:00:00"),
        ("1w", "2026-11-25 00:00:00", "2026-11-30 00:00:00"),
        ("weekly", "2026-11-25 00:00:00", "2026-11-30 00:00:00"),
        ("2w", "2026-11-25 10:00:00", "2026-12-09 00:00:00"),
        ("30d", "2026-11-23 15:00:00", "2026-12-01 00:00:00"),
        ("30d", "2026-12-01 00:00:00", "2027-01-01 00:00:00"),
        ("1mo", "2026-12-31 23:59:59", "2027-01-01 00:00:00"),
        ("2mo", "2026-11-23 15:00:00", "2027-01-01 00:00:00"),
        ("14mo", "2026-11-23 15:00:00", "2028-01-01 00:00:00"),
        ("10d", "2026-11-23 15:00:00", "2026-12-03 00:00:00"),
        ("1h", "2026-11-23 15:04:05", "2026-11-23 16:00:00"),
        ("6h", "2026-11-23 15:04:05", "2026-11-23 18:00:00"),
        ("24h", "2026-11-23 15:04:05", "2026-11-24 00:00:00"),
        ("48h", "2026-11-23 15:04:05", "2026-11-25 00:00:00"),
        ("48h", "2026-11-25 15:04:05", "2026-11-27 00:00:00"),
        ("15m", "2026-11-23 15:15:00", "2026-11-23 15:30:00"),
        ("30s", "2026-11-23 15:04:05", "2026-11-23 15:04:30"),
    ],
)
def test_a_budget_window_ends_with_the_calendar(duration, now, reset):
    assert iso(windows.next_reset(windows.parse(duration), ms(now))) == reset


@given(durations, moments)
def test_a_reset_is_in_the_future_and_at_most_one_window_and_a_month_away(duration, now):
    reset = windows.next_reset(duration, now)
    length = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "mo": 31 * 86_400}[duration.unit] * 1_000

    assert now < reset <= now + max(duration.count * length, 31 * 86_400_000)


@given(durations, moments, st.integers(0, 86_400_000))
def test_time_never_moves_a_reset_back(duration, now, later):
    assert windows.next_reset(duration, now) <= windows.next_reset(duration, now + later)


@pytest.mark.parametrize(
    ("duration", "now", "expires"),
    [
        ("90s", "2026-11-23 15:04:05", "2026-11-23 15:05:35"),
        ("1h", "2026-11-23 15:04:05", "2026-11-23 16:04:05"),
        ("30d", "2026-11-23 15:04:05", "2026-12-23 15:04:05"),
        ("1w", "2026-11-23 15:04:05", "2026-11-30 15:04:05"),
        ("1mo", "2026-11-23 15:04:05", "2026-12-23 15:04:05"),
        ("1mo", "2027-01-31 15:04:05", "2027-02-28 15:04:05"),
        ("1mo", "2028-01-31 15:04:05", "2028-02-29 15:04:05"),
        ("12mo", "2026-12-31 00:00:00", "2027-12-31 00:00:00"),
    ],
)
def test_a_key_expires_one_duration_from_now(duration, now, expires):
    assert iso(windows.expiry(windows.parse(duration), ms(now))) == expires


@given(durations, moments)
def test_an_expiry_keeps_the_milliseconds_and_is_later(duration, now):
    expires = windows.expiry(duration, now)

    assert expires > now
    assert expires % 1_000 == now % 1_000


@given(st.integers(1, 1_200), moments)
def test_months_land_in_the_month_that_was_meant(months, now):
    start = datetime.fromtimestamp(now // 1_000, UTC)
    end = datetime.fromtimestamp(windows.expiry(Duration(months, "mo"), now) // 1_000, UTC)

    assert (end.year * 12 + end.month) - (start.year * 12 + start.month) == months
    assert end.day == start.day or (end + timedelta(days=1)).day == 1


BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from([UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kathmandu")])
BUDGETS = st.sampled_from(["1s", "7m", "5h", "48h", "1d", "2d", "3d", "7d", "1w", "2w", "30d", "1mo", "2mo", "5mo"])


@given(BUDGETS, moments, moments, ZONES)
def test_windows_follow_each_other_without_gap_or_overlap(text, now, reset, zone):
    duration = windows.parse(text)
    since, until = windows.window(duration, now, reset, zone)

    assert since <= now < until
    assert windows.window(duration, since, reset, zone) == (since, until)
    assert windows.window(duration, until - 1, reset, zone) == (since, until)
    assert windows.window(duration, until, reset, zone)[0] == until


@given(BUDGETS, moments, moments, ZONES)
def test_the_first_reset_of_a_budget_is_the_end_of_one_of_its_windows(text, made, now, zone):
    duration = windows.parse(text)
    reset = windows.next_reset(duration, made, zone)

    assert windows.window(duration, reset, reset, zone)[0] == reset


def test_a_month_in_a_time_zone_begins_at_its_own_midnight():
    now = ms("2026-11-25T00:00")

    since, until = windows.window(windows.parse("30d"), now, None, BERLIN)

    assert (since, until) == (ms("2026-10-31T23:00"), ms("2026-11-30T23:00"))


def test_a_day_on_which_the_clocks_change_is_one_window():
    now = ms("2026-10-25T12:00")

    since, until = windows.window(windows.parse("1d"), now, None, BERLIN)

    assert until - since == 25 * 3_600_000


@given(st.sampled_from(["45s", "10m", "36h", "1d", "2w", "1mo", "12mo"]), moments)
def test_no_window_is_longer_than_the_most_of_its_duration(text, now):
    start, end = windows.window(windows.parse(text), now)

    assert end - start <= windows.most_ms(text)
