"""What an import has to say: how many rows of each kind, and what of LiteLLM has no counterpart here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec

#: Of each remark so many subjects are named; the others are counted.
_MOST_EXAMPLES = 5
_LONGEST_EXAMPLE = 80


class Remark(msgspec.Struct):
    """One remark, how often it holds, and of whom (ids and aliases, never a secret)."""

    text: str
    count: int = 0
    examples: list[str] = []


class Notes:
    """Remarks, counted by their text."""

    def __init__(self) -> None:
        self._remarks: defaultdict[str, Remark] = defaultdict(lambda: Remark(""))

    def add(self, text: str, subject: str = "", count: int = 1) -> None:
        """Remark on a subject, or on `count` of them without a name."""
        remark = self._remarks[text]
        remark.text = text
        remark.count += count
        if subject and len(remark.examples) < _MOST_EXAMPLES:
            remark.examples.append(subject[:_LONGEST_EXAMPLE])

    def __iter__(self) -> Iterator[Remark]:
        """The most frequent first."""
        return iter(sorted(self._remarks.values(), key=lambda remark: (-remark.count, remark.text)))
