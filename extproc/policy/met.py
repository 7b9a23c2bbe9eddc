"""The limits that an exchange meets, remembered: finding them costs more than checking them.

Whoever asks again is mostly the same: the same key as the cache holds it, the same end user, the same tags, the same
model. So what was found is kept for exactly these objects, as long as it is true: until the first of its windows ends,
or a temporary increase of a budget does. Nothing is told of a changed key, team or budget here; who has changed is
another object.

What is found is also the same tuple each time, and so is cheap to look up for whoever counts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from extproc.holds import Limit
from extproc.model import Allowance, Deployment, EndUser, Key, Tag, UnixMs
from extproc.policy import limits
from extproc.policy.limits import House, Subject

#: How many are kept; each is a few kilobytes.
KEPT = 2_048
_EVER = 2**63

#: Everything that the limits follow from, but the moment.
Askers: TypeAlias = "tuple[House, Key, str, Deployment, EndUser | None, tuple[Tag, ...]]"


class Met(msgspec.Struct, frozen=True):
    """Who an exchange is counted for, and every limit that it meets; true from `since` on, before `until`."""

    who: tuple[Subject, ...]
    limits: tuple[Limit, ...]
    since: UnixMs
    until: UnixMs


class Meetings:
    """What was found lately. One for each process."""

    def __init__(self, kept: int = KEPT) -> None:
        self._most = kept
        #: By the identities of the askers, who are kept too, so that nobody else ever has these.
        self._found: OrderedDict[tuple[object, ...], tuple[Askers, Met]] = OrderedDict()

    def of(
        self,
        house: House,
        key: Key,
        model: str,
        deployment: Deployment,
        end_user: EndUser | None,
        tags: tuple[Tag, ...],
        now: UnixMs,
    ) -> Met:
        """As `limits.subjects` and `limits.of` say."""
        name = (id(house), id(key), model, id(deployment), id(end_user), *map(id, tags))
        known = self._found.get(name)
        if known is not None and known[1].since <= now < known[1].until:
            self._found.move_to_end(name)
            return known[1]
        met = _met(house, key, model, deployment, end_user, tags, now)
        self._found[name] = ((house, key, model, deployment, end_user, tags), met)
        if len(self._found) > self._most:
            self._found.popitem(last=False)
        return met


def _met(
    house: House,
    key: Key,
    model: str,
    deployment: Deployment,
    end_user: EndUser | None,
    tags: tuple[Tag, ...],
    now: UnixMs,
) -> Met:
    who = limits.subjects(house, key, deployment, end_user, tags)
    found = limits.of(house, who, model, now)
    turns = [*_turns(found, [subject.allowance for subject in who])]
    since = max((turn for turn in turns if turn <= now), default=0)
    until = min((turn for turn in turns if turn > now), default=_EVER)
    return Met(who, found, since, until)


def _turns(found: Sequence[Limit], allowances: Sequence[Allowance]) -> Iterator[UnixMs]:
    """The moments at which something else is true."""
    for limit in found:
        yield limit.since
        if limit.until is not None:
            yield limit.until
    for allowance in allowances:
        if allowance.temp_budget_expiry is not None:
            yield allowance.temp_budget_expiry
