"""How many output tokens an answer will have, learned from the answers before it.

A reservation that is too small lets callers spend what nobody has reserved; one that is too large starves their
neighbours. What a key asks of a model is usually alike, so the nine-tenths quantile of its last answers is reserved;
where it has no answers yet, those of the model, whoever asked; where there are none at all, `COLD_TOKENS`. The client's
own limit on the answer is never exceeded, and never written for it.

The memory is bounded: the least recently used pairs of key and model are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

#: Answers remembered of each pair; older ones do not count any more.
REMEMBERED = 32
PAIRS = 10_000
#: Nothing is known: about three paragraphs.
COLD_TOKENS = 512


class Expected(msgspec.Struct, frozen=True, gc=False):
    """Output tokens that an answer is expected to have; `learned` is false where this is a mere guess."""

    tokens: int
    learned: bool


class Expectations:
    """What was seen, by key and model. One for each process; not shared, since a wrong guess costs little."""

    def __init__(self, pairs: int = PAIRS) -> None:
        self._pairs = pairs
        self._seen: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()

    def observe(self, key: str, model: str, output_tokens: int) -> None:
        """A whole answer of `model` to `key` had this many tokens."""
        for pair in ((key, model), ("", model)):
            answers = self._seen.setdefault(pair, deque(maxlen=REMEMBERED))
            answers.append(output_tokens)
            self._seen.move_to_end(pair)
        while len(self._seen) > self._pairs:
            self._seen.popitem(last=False)

    def expect(self, key: str, model: str, ceiling: int | None) -> Expected:
        """What to expect. `ceiling` is the most that the client or the model allows, `None` where nobody says."""
        answers = self._seen.get((key, model)) or self._seen.get(("", model))
        tokens = _high(answers) if answers else COLD_TOKENS
        return Expected(tokens if ceiling is None else min(tokens, ceiling), learned=bool(answers))


def _high(answers: deque[int]) -> int:
    """The nine-tenths quantile, rounded up to one of the answers."""
    return sorted(answers)[-(-len(answers) * 9 // 10) - 1]
