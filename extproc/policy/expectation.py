"""How many output tokens an answer will have, learned from the answers before it.

A reservation that is too small lets callers spend what nobody has reserved; one that is too large starves their
neighbours. What a key asks of a model is usually alike, so the nine-tenths quantile of its last answers is reserved;
where it has no answers yet, that of the model's answers to others; where there are none at all, it is a guess what a
model may do (`COLD_TOKENS`), or what a stream does at first, since it can ask for more
(`COLD_STREAM_TOKENS`). The client's own limit on the answer is never exceeded, and never written for it.

The memory is bounded: the least recently used pairs of key and model are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import msgspec

#: Answers remembered of each pair; older ones do not count any more.
REMEMBERED = 32
PAIRS = 10_000
#: Nothing is known: the longest answer that most models give, and about three paragraphs.
COLD_TOKENS, COLD_STREAM_TOKENS = 16_384, 512


class Expected(msgspec.Struct, frozen=True, gc=False):
    """Output tokens that an answer is expected to have; `learned` is false where nobody has shown anything yet.

    `guessed` is false where it is not expected but told by the client, and may really be used.
    """

    tokens: int
    learned: bool
    guessed: bool = True


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

    def expect(self, key: str, model: str, ceiling: int | None, *, stream: bool) -> Expected:
        """What to expect. `ceiling` is the most that the client or the model allows, `None` where nobody says."""
        answers = self._seen.get((key, model)) or self._seen.get(("", model))
        cold = COLD_STREAM_TOKENS if stream else COLD_TOKENS
        tokens = _high(answers) if answers else cold
        return Expected(tokens if ceiling is None else min(tokens, ceiling), learned=bool(answers))


def _high(answers: deque[int]) -> int:
    """The nine-tenths quantile, rounded up to one of the answers."""
    return sorted(answers)[-(-len(answers) * 9 // 10) - 1]
