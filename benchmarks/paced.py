"""What a chunk of a stream costs, redacted or not: told again and again, and once a millisecond; for `--micro`.

A real chunk meets a processor that has waited since the one before. Meanwhile others had the core, its caches, and what
it had learned of the code's branches; the same steps take several times as long then, and the more of them there are,
the more that is. Processor time of the thread alone, median of the chunks in the middle of streams.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import msgspec

from benchmarks import stories
from extproc import codec, guardrails
from extproc.admission import Surroundings
from extproc.exchange import Exchange
from extproc.guardrails import Configured, Guardrails
from extproc.model import Outcome
from extproc.redaction import Action, Policy, catalog, validators

STREAMS = 20
PAUSE_SECONDS = 0.001


def rows(surroundings: Surroundings) -> dict[str, float]:
    """Microseconds for each step, under its name."""
    redacting = msgspec.structs.replace(surroundings, guardrails=_everything())
    found = {}
    for how, pause in ("again and again", 0.0), ("once a ms", PAUSE_SECONDS):
        for what, given in ("", surroundings), (", redacted", redacting):
            _spent(given, 0.0)
            found[f"one streamed chunk with codec, {how}{what}"] = _median(given, pause)
    return found


def _everything() -> Guardrails:
    """All that the engine finds, masked in both directions and put back."""
    masked = dict.fromkeys(catalog.findable(validators()), Action.MASK)
    policy = Policy(request=masked, response=masked, restore=True)
    return guardrails.compiled([Configured("everything", policy, Action.BLOCK, default_on=True)])


def _median(surroundings: Surroundings, pause: float) -> float:
    spent = [each for _ in range(STREAMS) for each in _spent(surroundings, pause)[stories.BEFORE : -stories.BEHIND]]
    return statistics.median(spent) / 1_000


def _spent(surroundings: Surroundings, pause: float) -> list[int]:
    """Nanoseconds for each message of a stream, whose request has a value to be masked."""
    messages, spent = stories.stream_messages({"user": "ann@company.com"}), list[int]()
    stories.driven(_told(surroundings, messages, pause, spent))
    return spent


async def _told(surroundings: Surroundings, messages: Sequence[bytes], pause: float, spent: list[int]) -> Outcome:
    exchange = Exchange(surroundings)
    for message in messages:
        if pause:
            time.sleep(pause)
        began = time.thread_time_ns()
        event = codec.decode(message)
        codec.encode(event, await exchange.receive(event))
        spent.append(time.thread_time_ns() - began)
    return exchange.close()
