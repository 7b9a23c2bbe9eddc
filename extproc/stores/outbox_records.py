"""The outbox's records: receipts as bytes, and back again, whatever a disk has done to them.

A record is `length, crc32, payload`, little-endian; the payload is a receipt as MessagePack. What follows the last
record is zeros.

Strategy of reading. What is no whole record hides nothing behind it: the next one is looked for, by the bytes with
which every receipt begins, and is believed where its checksum agrees. What lies between is told as bad, and so is a
whole record that is no receipt (another version may have written it). At the end of a segment that may be a write that
a crash interrupted, which was promised to nobody; nothing tells it from one that was damaged later.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from extproc.model import Receipt

_HEADER = struct.Struct("<II")
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Receipt)
#: A map of more than 15 and fewer than 256 entries.
_BEGINNING = b"\xde\x00"

#: A receipt, `None` for bytes that are none; and the offset behind it.
Found: TypeAlias = "tuple[Receipt | None, int]"


def record(receipt: Receipt) -> bytes:
    """A receipt as it is written."""
    payload = _ENCODER.encode(receipt)
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def found(data: bytes) -> Iterator[Found]:
    """Everything in `data`, which begins where a record does, up to the zeros at its end."""
    start, written = 0, len(data.rstrip(b"\0"))
    while start < written:
        behind = _behind(data, start)
        if behind:
            yield _receipt(data[start + _HEADER.size : behind]), behind
            start = behind
        else:
            start = _next(data, start + 1) or written
            yield None, start


def _behind(data: bytes, start: int) -> int:
    """Where the record ends that begins here; 0 where none does."""
    if start + _HEADER.size > len(data):
        return 0
    length, checksum = _HEADER.unpack_from(data, start)
    payload = start + _HEADER.size
    if not 0 < length <= len(data) - payload or zlib.crc32(data[payload : payload + length]) != checksum:
        return 0
    return int(payload + length)


def _next(data: bytes, start: int) -> int:
    """Where the next whole record begins, not before `start`; 0 where there is none."""
    payload = data.find(_BEGINNING, start + _HEADER.size)
    while payload >= 0:
        if _behind(data, payload - _HEADER.size):
            return payload - _HEADER.size
        payload = data.find(_BEGINNING, payload + 1)
    return 0


def _receipt(payload: bytes) -> Receipt | None:
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
