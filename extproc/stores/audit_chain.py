"""The audit trail's chain: who acts, what is hashed, and what is found out when it is read again.

Each entry's hash is an HMAC over all of it and over the hash of the entry before. The key is derived from a text that
is not in the database (`extproc_settings.audit_key`, else the master key), so whoever can write to the database and
nothing else can neither change an entry nor make one up. What they can do is to cut off the end and to put the head
back; that is told by any earlier head, which is why every entry's is logged and `verify-audit` prints the last one.

What may tell of a person is not hashed itself: a commitment to it is, an HMAC under a salt of its own that is kept with
it. Where the law asks for it the value and its salt are erased and the commitment is kept, so that the chain holds and
nobody can search for the value. Each erasure is an entry itself; one that no entry tells of is found.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from extproc.model import UnixMs
from extproc.stores.audit_values import text

#: scrypt's cost: 16 MiB and some 50 ms for each key, once for each process.
_COST, _BLOCKS = 2**14, 8
_SALT = b"llm-extproc audit v1"
_KEY_BYTES, _KID_BYTES = 32, 6
#: Where an entry that was moved is looked for, on both sides of where it stands.
_NEAR = 1_000
#: What may tell of a person, and what stands there when it is erased.
PERSONAL = {
    "changed_by": "erased", "ip": "erased", "object_id": "erased",
    "before": '{"erased":true}', "after": '{"erased":true}',
}  # fmt: skip
#: The action of an entry whose `after` tells which columns of which entries were erased, by their numbers.
ERASED = "erased"
_SALT_BYTES = 16


class Actor(msgspec.Struct, frozen=True):
    """Who makes a change, and from where. `key` is a digest, or `litellm_proxy_master_key`."""

    name: str
    key: str = ""
    ip: str = ""


#: The program itself, where nobody asks.
ITSELF = Actor("extproc")
_acting: contextvars.ContextVar[Actor] = contextvars.ContextVar("acting", default=ITSELF)


def act_as(actor: Actor) -> None:
    """Whatever this task changes from now on is this one's doing."""
    _acting.set(actor)


def acting() -> Actor:
    """Whose doing it is."""
    return _acting.get()


class Head(msgspec.Struct, frozen=True):
    """Where a chain ends: its last entry's number and hash. `0:` is the empty chain's."""

    seq: int = 0
    hash: str = ""

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `before` and `after` are JSON texts; of an update, what changed. `previous` is the hash of the entry
    before, `key_id` names the key that hashed this one. `cover` is a JSON object: for each personal column its salt or,
    where it is erased, its commitment (`=` and hex digits)."""

    seq: int
    id: str
    at: UnixMs
    changed_by: str
    changed_by_key: str
    ip: str
    action: str
    table_name: str
    object_id: str
    before: str | None
    after: str | None
    previous: str
    key_id: str
    cover: str = ""
    hash: str = ""

    @property
    def head(self) -> Head:
        return Head(self.seq, self.hash)

    @property
    def erased_columns(self) -> tuple[str, ...]:
        return tuple(name for name, kept in _covered(self).items() if kept.startswith("="))

    def without(self, columns: Iterable[str]) -> Entry:
        """The same entry with these personal columns erased. Its hash stays."""
        kept = {**_covered(self), **{name: f"={_commitment(self, name)}" for name in columns}}
        gone = {name: PERSONAL[name] for name in columns}
        return msgspec.structs.replace(self, cover=text(kept), **gone)


def new_cover() -> str:
    """Salts for an entry's personal columns."""
    return text({name: os.urandom(_SALT_BYTES).hex() for name in PERSONAL})


def _covered(entry: Entry) -> dict[str, str]:
    """Empty for what is no cover: its hash will not be the entry's."""
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(entry.cover, type=dict[str, str])
    return {}


def _commitment(entry: Entry, name: str) -> str:
    """Of a column that is erased the one that was kept, if nothing else stands there."""
    kept = _covered(entry).get(name, "")
    if kept.startswith("="):
        return kept[1:] if getattr(entry, name) == PERSONAL[name] else ""
    return hmac.new(kept.encode(), text(getattr(entry, name)).encode(), hashlib.sha256).hexdigest()


class AuditKey:
    """A key that hashes entries. Not shown by any repr; its id says nothing of it."""

    def __init__(self, secret: str) -> None:
        self.id, self._key = _stretched(secret)

    def hash(self, entry: Entry) -> str:
        """Over everything but the hash itself, and over the commitments to what is personal."""
        names = [name for name in Entry.__struct_fields__ if name not in {"hash", "cover"}]
        values = [_commitment(entry, name) if name in PERSONAL else getattr(entry, name) for name in names]
        return hmac.new(self._key, text(values).encode(), hashlib.sha256).hexdigest()

    def sign(self, content: str) -> str:
        """Of a text that leaves the gateway; never the hash of an entry."""
        return hmac.new(self._key, b"signed\0" + content.encode(), hashlib.sha256).hexdigest()

    def sealed(self, entry: Entry) -> Entry:
        return msgspec.structs.replace(entry, hash=self.hash(entry))


class Verifier:
    """Reads a chain from its first entry on, and tells what is wrong with it. `expected` is a head of before."""

    def __init__(self, keys: Sequence[AuditKey], expected: Head | None = None) -> None:
        self._keys = {key.id: key for key in keys}
        self._expected = expected
        self.last = Head()
        self._is_sound = True
        self._erased: dict[str, set[str]] = {}

    def feed(self, entry: Entry) -> Iterator[str]:
        """What is wrong with the next entry, by its number."""
        missing = entry.seq - self.last.seq - 1
        if missing > 0:
            yield f"{_entries(self.last.seq + 1, entry.seq - 1)} missing: removed"
        key, was_sound = self._keys.get(entry.key_id), self._is_sound
        self._is_sound = key is not None and hmac.compare_digest(key.hash(entry), entry.hash)
        if key is None:
            yield f"entry {entry.seq} was hashed with a key ({entry.key_id}) that is not known here"
        elif not self._is_sound:
            yield _changed(key, entry)
        elif missing == 0 and was_sound and entry.previous != self.last.hash:
            yield f"entry {entry.seq} does not follow from entry {self.last.seq}: one of them was put in its place"
        if self._is_sound:
            self._follow_erasures(entry)
        if self._expected and entry.seq == self._expected.seq and entry.hash != self._expected.hash:
            yield f"entry {entry.seq} is not the one whose hash is expected"
        self.last = entry.head

    def _follow_erasures(self, entry: Entry) -> None:
        """Remember what is erased, and forget it when a later entry tells of it."""
        erased = entry.erased_columns
        if erased:
            self._erased[str(entry.seq)] = {*erased}
        if entry.action == ERASED and entry.after is not None and "after" not in erased:
            for seq, names in msgspec.json.decode(entry.after, type=dict[str, list[str]]).items():
                if seq in self._erased:
                    self._erased[seq] -= {*names}

    def end(self, head: Head) -> Iterator[str]:
        """What is wrong with the end, against the head that the database holds and the expected one."""
        for seq, names in self._erased.items():
            if names:
                yield f"{', '.join(sorted(names))} of entry {seq} erased, and no later entry tells of it"
        furthest = max(head.seq, self._expected.seq if self._expected else 0)
        if furthest > self.last.seq:
            yield f"{_entries(self.last.seq + 1, furthest)} missing: cut off the end"
        elif head != self.last:
            yield f"the head says that the chain ends with entry {head.seq}, but it goes on to entry {self.last.seq}"


def _changed(key: AuditKey, entry: Entry) -> str:
    for seq in range(max(1, entry.seq - _NEAR), entry.seq + _NEAR):
        if key.hash(msgspec.structs.replace(entry, seq=seq)) == entry.hash:
            return f"entry {entry.seq} was moved: it was entry {seq}"
    return f"entry {entry.seq} was edited"


def _entries(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


@functools.lru_cache(8)
def _stretched(secret: str) -> tuple[str, bytes]:
    """The key's id and the key: two parts of one derivation, of which the first tells nothing of the second."""
    length = _KID_BYTES + _KEY_BYTES
    derived = hashlib.scrypt(secret.encode(), salt=_SALT, n=_COST, r=_BLOCKS, p=1, dklen=length)
    return derived[:_KID_BYTES].hex(), derived[_KID_BYTES:]
