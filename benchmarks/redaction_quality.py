"""How well redaction detects: `python -m benchmarks.redaction_quality [--presidio PYTHON]`.

Everything is looked for at once in each sentence of the corpus, at the threshold that is our default. *Exact*: the
finding has the entity, the start and the end that the corpus says. *Partial*: the entity, and both share at least half
of what either covers. What is found elsewhere, or as another entity, is a false alarm; one finding counts once.

Presidio runs in the interpreter that is named (`presidio_findings.py`). It may have what suits it best: of several
thresholds the one with its best partial F1 for each entity; of findings that overlap the surest counts, as in its
anonymizer.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import typer

from benchmarks.redaction_corpus import Sentence, read
from extproc.redaction import ENTITIES, Action, Direction, Placeholders, Policy, validators

Found: TypeAlias = tuple[str, int, int]
Scored: TypeAlias = tuple[str, int, int, float]
THRESHOLDS = (0.0, 0.2, 0.4, 0.6)
#: Presidio's names where they are not ours.
SAME = {"ES_NIE": "ES_NIF"}
#: What Presidio has a recognizer for, with our names.
COMPARED = (
    *("CREDIT_CARD", "CRYPTO", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "MAC_ADDRESS", "PHONE_NUMBER", "US_SSN"),
    *("US_ITIN", "US_BANK_NUMBER", "ABA_ROUTING_NUMBER", "US_PASSPORT", "US_DRIVER_LICENSE", "UK_NHS", "UK_NINO"),
    *("ES_NIF", "IT_FISCAL_CODE", "PL_PESEL", "FI_PERSONAL_IDENTITY_CODE", "IN_AADHAAR", "IN_PAN"),
    *("AU_TFN", "AU_ABN", "AU_ACN"),
)


class Score(NamedTuple):
    """Hits, false alarms and misses."""

    hits: int
    alarms: int
    misses: int

    @property
    def precision(self) -> float:
        return self.hits / max(1, self.hits + self.alarms)

    @property
    def recall(self) -> float:
        return self.hits / max(1, self.hits + self.misses)

    @property
    def f1(self) -> float:
        return 2 * self.hits / max(1, 2 * self.hits + self.alarms + self.misses)


def ours(sentences: Sequence[Sentence]) -> list[list[Found]]:
    """What the engine finds when it looks for everything."""
    redactor = Policy(request=dict.fromkeys(ENTITIES, Action.MASK)).compile(Direction.REQUEST, validators())
    found = [redactor.redact(sentence.text, Placeholders()).findings.spans for sentence in sentences]
    return [[(span.entity, span.start, span.end) for span in spans] for spans in found]


def presidios(python: Path, sentences: Sequence[Sentence]) -> list[list[Scored]]:
    """What Presidio finds, with its scores."""
    program = Path(__file__).with_name("presidio_findings.py")
    texts = json.dumps([sentence.text for sentence in sentences])
    done = subprocess.run([python, program], input=texts, capture_output=True, text=True, check=True)
    return [[(SAME.get(name, name), a, b, score) for name, a, b, score in row] for row in json.loads(done.stdout)]


def surest(found: Sequence[Scored], threshold: float) -> list[Found]:
    """Of findings that overlap the one with the best score, of equal ones the longest."""
    kept: list[Found] = []
    for entity, start, end, score in sorted(found, key=lambda one: (-one[3], one[1] - one[2])):
        if score >= threshold and all(end <= other[1] or start >= other[2] for other in kept):
            kept.append((entity, start, end))
    return kept


def score(sentences: Sequence[Sentence], found: Sequence[Sequence[Found]], entity: str, share: float) -> Score:
    """How an entity was found; `share` of the union of two spans makes them one (1: exact)."""
    hits = alarms = misses = 0
    for sentence, spans in zip(sentences, found, strict=True):
        left = [span for span in spans if span[0] == entity]
        for wanted in (span for span in sentence.spans if span[0] == entity):
            match = next((span for span in left if _shared(wanted, span) >= share), None)
            if match is None:
                misses += 1
            else:
                hits += 1
                left.remove(match)
        alarms += len(left)
    return Score(hits, alarms, misses)


def _shared(one: Found, other: Found) -> float:
    both = min(one[2], other[2]) - max(one[1], other[1])
    return max(0, both) / (max(one[2], other[2]) - min(one[1], other[1]))


def _cells(partial: Score, exact: Score) -> str:
    return f"{partial.precision:.3f} | {partial.recall:.3f} | {partial.f1:.3f} | {exact.f1:.3f}"


def table(sentences: Sequence[Sentence], mine: list[list[Found]], theirs: list[list[Scored]] | None) -> str:
    """The table, in Markdown."""
    by_threshold = [[surest(row, threshold) for row in theirs] for threshold in THRESHOLDS] if theirs else []
    lines = ["| entity | values | precision | recall | F1 | exact F1 | Presidio: precision | recall | F1 | exact F1 |"]
    lines.append("|---|" + "--:|" * 9)
    for entity in sorted({span[0] for sentence in sentences for span in sentence.spans}):
        partial, exact = (score(sentences, mine, entity, share) for share in (0.5, 1))
        cells = "| | | "
        if by_threshold and entity in COMPARED:
            best = max(by_threshold, key=lambda found: score(sentences, found, entity, 0.5).f1)
            cells = _cells(score(sentences, best, entity, 0.5), score(sentences, best, entity, 1))
        lines.append(f"| {entity} | {partial.hits + partial.misses} | {_cells(partial, exact)} | {cells} |")
    return "\n".join(lines)


def show(sentences: Sequence[Sentence], mine: Sequence[Sequence[Found]]) -> None:
    """What was missed, and what was found that is not there."""
    for sentence, spans in zip(sentences, mine, strict=True):
        for sign, some in (("missed", set(sentence.spans) - set(spans)), ("alarm", set(spans) - set(sentence.spans))):
            for entity, start, end in sorted(some):
                print(f"{sign} {entity} {sentence.text[start:end]!r} in {sentence.text!r}")


def main(
    presidio: Annotated[Path | None, typer.Option(help="A Python interpreter that has presidio-analyzer.")] = None,
    errors: Annotated[bool, typer.Option(help="Also print every difference from the corpus.")] = False,
) -> None:
    """Print the table."""
    sentences = read()
    mine = ours(sentences)
    if errors:
        show(sentences, mine)
    print(table(sentences, mine, presidios(presidio, sentences) if presidio else None))
    clean = [spans for sentence, spans in zip(sentences, mine, strict=True) if not sentence.spans]
    print(f"\n{sum(map(bool, clean))} of {len(clean)} sentences without a value raise an alarm.")


if __name__ == "__main__":
    typer.run(main)
