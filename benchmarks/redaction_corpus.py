"""The corpus that redaction is measured with: `python -m benchmarks.redaction_corpus` writes it again.

Sentences with one value each, some with several, and as many that only look as if they had one. Everything is made
from a seed: the values by the specifications of their formats (`corpus_values.py`, `corpus_national.py`), the text
around them from frames (`corpus_frames.py`). A sentence is a line of JSON: `text`, and `spans` of entity, start and end
in characters. The file is committed, so that a number can be traced to the sentences that it was measured on.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.corpus_frames import ANYWHERE, MAKERS, NAMED, NEGATIVE

PATH = Path(__file__).parent / "redaction_corpus.jsonl.gz"
SEED = 20_261_126
EACH, SEVERAL, NONE_EACH = 50, 300, 50


class Sentence(NamedTuple):
    """A text, and what stands in it: entity, start and end in characters."""

    text: str
    spans: list[tuple[str, int, int]]


def corpus() -> list[Sentence]:
    """All the sentences, each time the same."""
    rng = Random(SEED)
    sentences = [_sentence(rng, entity) for entity in MAKERS for _ in range(EACH)]
    sentences += [_joined([_sentence(rng, rng.choice(list(MAKERS))) for _ in range(3)]) for _ in range(SEVERAL)]
    for maker, frames in NEGATIVE:
        sentences += [Sentence(rng.choice(frames).format(maker(rng)), []) for _ in range(NONE_EACH)]
    rng.shuffle(sentences)
    return sentences


def read() -> list[Sentence]:
    """The committed sentences."""
    lines = gzip.decompress(PATH.read_bytes()).decode().splitlines()
    rows = map(json.loads, lines)
    return [Sentence(row["text"], [(entity, start, end) for entity, start, end in row["spans"]]) for row in rows]


def write() -> None:
    """Write the sentences, with no time in the file: equal sentences are equal bytes of one zlib."""
    lines = "".join(json.dumps(sentence._asdict(), ensure_ascii=False) + "\n" for sentence in corpus())
    PATH.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def _sentence(rng: Random, entity: str) -> Sentence:
    maker, anywhere = MAKERS[entity]
    frame = rng.choice(NAMED.get(entity, ()) + (ANYWHERE if anywhere else ()))
    value, before = maker(rng), frame.split("{}")[0].replace("{{", "{")
    return Sentence(frame.format(value), [(entity, len(before), len(before) + len(value))])


def _joined(parts: list[Sentence]) -> Sentence:
    """Sentences as lines of one text."""
    text, spans = "", []
    for part in parts:
        spans += [(entity, start + len(text), end + len(text)) for entity, start, end in part.spans]
        text += part.text + "\n"
    return Sentence(text, spans)


if __name__ == "__main__":
    write()
    print(f"{len(read())} sentences, {PATH.stat().st_size} bytes")
