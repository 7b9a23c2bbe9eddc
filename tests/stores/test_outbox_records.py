"""Whatever a disk does to a record, the receipts before and behind it are read."""

from __future__ import annotations

import struct
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores.samples import receipt

from extproc.stores import outbox_records
from extproc.stores.outbox_records import record

RECORDS = [record(receipt(event_id=f"event-{number}", user_agent="x" * 50 * number)) for number in range(5)]
TAIL = bytes(1_000)


def read(data: bytes) -> list[str | None]:
    return [None if one is None else one.event_id for one, _ in outbox_records.found(data)]


def names(*numbers: int) -> list[str | None]:
    return [f"event-{number}" for number in numbers]


def test_all_that_is_whole_is_read_and_zeros_are_the_end():
    assert read(b"".join(RECORDS) + TAIL) == names(0, 1, 2, 3, 4)
    assert read(TAIL) == read(b"") == []


def test_a_whole_record_that_is_no_receipt_is_bad_alone():
    other = msgspec.msgpack.encode({"event_id": "from another version"})
    framed = struct.pack("<II", len(other), zlib.crc32(other)) + other

    assert read(RECORDS[0] + framed + RECORDS[1] + TAIL) == [*names(0), None, *names(1)]


@pytest.mark.parametrize("place", [0, 3, 4, 8, 9, 40, -1])
def test_a_flipped_bit_anywhere_spoils_one_record_only(place):
    spoiled = bytearray(RECORDS[2])
    spoiled[place] ^= 0x10

    assert read(b"".join((*RECORDS[:2], spoiled, *RECORDS[3:], TAIL))) == [*names(0, 1), None, *names(3, 4)]


@given(garbage=st.binary(min_size=1, max_size=300), where=st.integers(0, 5))
def test_garbage_between_records_hides_none_of_them(garbage, where):
    found = read(b"".join((*RECORDS[:where], garbage, *RECORDS[where:], TAIL)))

    assert [name for name in found if name] == names(0, 1, 2, 3, 4)
    assert found.count(None) == (1 if where < 5 or garbage.strip(b"\0") else 0)


@given(length=st.integers(0, len(b"".join(RECORDS))))
def test_what_is_cut_off_anywhere_is_read_up_to_there(length):
    ends = [len(b"".join(RECORDS[:number])) for number in range(6)]
    whole = max(number for number, end in enumerate(ends) if end <= length)

    assert read(b"".join(RECORDS)[:length]) == names(*range(whole)) + [None] * (length not in ends)


@given(data=st.data())
def test_whatever_is_flipped_what_is_told_leads_from_one_end_to_the_other(data):
    whole = bytearray(b"".join(RECORDS))
    flips = data.draw(st.lists(st.integers(0, len(whole) * 8 - 1), max_size=12))
    for bit in flips:
        whole[bit // 8] ^= 1 << bit % 8

    offsets = [behind for _, behind in outbox_records.found(bytes(whole))]

    assert offsets == sorted(set(offsets))
    assert offsets[-1] >= len(whole.rstrip(b"\0"))
