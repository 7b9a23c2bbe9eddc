"""What redaction costs, and whether it is exact: `python -m benchmarks.redaction`.

Everything that can be looked for is looked for. Times are processor time of one core, the least of several rounds:
noise only ever adds. Random cases are made from a seed, which is printed, so that a mismatch can be made again.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import typer

from extproc.redaction import ENTITIES, Action, Direction, Placeholders, Policy, Redactor, Restorer, validators
from extproc.redaction.pattern import parse, render
from extproc.redaction.recognizers import RECOGNIZERS
from extproc.redaction.secrets_recognizers import SECRETS_RECOGNIZERS

ROUNDS = 5
HOSTILE_CHARS = 16 * 1024
VALUES = (
    *("john.doe@example.com", "4111 1111 1111 1111", "+44 20 7946 0958", "+1 415 555 2671", "10.1.2.3", "2001:db8::1"),
    *("sk-proj-abcdefghijklmnopqrstuvwx", "AKIAABCDEFGHIJKLMNOP", "536-90-4399", "DE89 3704 0044 0532 0130 00"),
    *(
        "eyJhbGciOiJI.eyJzdWIiOiIxMjM0.abcdefghijk",
        "postgres://u:p@h/db",
        "<EMAIL_ADDRESS_1>",
        "key: 9f8a7b6c5d4e3f2a1b",
    ),
    *(
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIB\n-----END RSA PRIVATE KEY-----",
        "passport C12345678",
        "born 12/03/1980",
    ),
)
SCRAPS = (
    *(
        "@",
        "-",
        ".",
        " ",
        "\n",
        "_",
        "/",
        ":",
        "<",
        ">",
        "\\",
        '"',
        "{",
        "}",
        "[",
        "]",
        ",",
        "null",
        "1.5e3",
        "12",
        "a@b",
    ),
    *("\u65e5\u672c", "\xe9", "\uff4a\uff4f\uff45\uff20ex.com", "\u200b", "\U0001d423", "x" * 70, "1" * 20, "\\u0040"),
    *("-----BEGIN PRIVATE KEY-----", "passport ", "123456789", "key ", "EMAIL", "hello world "),
)
PROSE = "The committee met on Tuesday, and after a long discussion it agreed to put the matter off until spring. "
CODE = (
    "def total(rows: list[Row]) -> int:\n    return sum(row.price * row.count for row in rows if row.kind != 'x')\n\n"
)
DOCUMENT = '{"location": "Paris, France", "unit": "celsius", "days": [1, 2, 3], "detailed": true, "lang": "fr"} '
DENSE = "Write to john.doe@example.com or call +1 415 555 2671, card 4111 1111 1111 1111, from 10.1.2.3. "
PRESIDIO = Path(__file__).with_name("presidio_findings.py")


class Incremental(Protocol):
    def feed(self, text: str) -> str: ...
    def flush(self) -> str: ...


def main(
    cases: Annotated[int, typer.Option(min=1, help="Random texts to redact, whole and in pieces.")] = 20_000,
    hostile: Annotated[int, typer.Option(min=1, help="Texts made to be slow.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Where the random cases begin.")] = 1,
    presidio: Annotated[str, typer.Option(metavar="PYTHON", help="A Python that has presidio-analyzer.")] = "",
    write: Annotated[bool, typer.Option(help="Put the tables into benchmarks/README.md.")] = False,
) -> None:
    """Measure redaction: exactness, what waits, speed, and the worst case."""
    redactor = Policy(request=dict.fromkeys(ENTITIES, Action.MASK)).compile(Direction.REQUEST, validators())
    parts = (
        exactness(redactor, cases, random.Random(seed), seed),
        held(redactor),
        speed(redactor, presidio),
        worst(redactor, hostile, random.Random(seed)),
    )
    text = "\n\n".join(parts)
    typer.echo(text)
    if write:
        _write(text)


def exactness(redactor: Redactor, cases: int, rnd: random.Random, seed: int) -> str:
    """Whole against pieces, for texts, JSON and restored answers."""
    wrong = {"text": 0, "JSON arguments": 0, "restored": 0, "restored in JSON": 0}
    counts = dict.fromkeys(wrong, 0)
    for _ in range(cases):
        text = _random_text(rnd)
        document = json.dumps({text[:9]: text, "n": [1, {"k": text[::-1]}]}, ensure_ascii=rnd.random() < 0.5)
        vault, other = Placeholders(), Placeholders()
        masked = redactor.redact(text, vault).text
        arguments = redactor.redact_json_text(document, other).text
        found = {
            "text": _joined(redactor.stream(Placeholders()), _cut(text, rnd)) == masked,
            "JSON arguments": _joined(redactor.json_stream(Placeholders()), _cut(document, rnd)) == arguments,
        }
        for _ in range(10):
            found["restored"] = _joined(Restorer(vault), _cut(masked, rnd)) == text
            back = _joined(Restorer(other, escaped=True), _cut(arguments, rnd))
            found["restored in JSON"] = json.loads(back) == json.loads(document)
            for name in ("restored", "restored in JSON"):
                counts[name] += 1
                wrong[name] += not found[name]
        for name in ("text", "JSON arguments"):
            counts[name] += 1
            wrong[name] += not found[name]
    rows = [(name, f"{counts[name]:,}", str(wrong[name])) for name in wrong]
    return _table(f"Any pieces against the whole (seed {seed})", ("what", "random cases", "mismatches"), rows)


def held(redactor: Redactor) -> str:
    """What waits in a stream of four characters a piece."""
    rows = []
    for name, text in (("prose", PROSE), ("code", CODE), ("JSON", DOCUMENT), ("matches", DENSE)):
        stream = redactor.stream(Placeholders())
        waits = []
        for piece in _pieces(text * 20):
            stream.feed(piece)
            waits.append(stream.held)
        rows.append((name, f"{sum(waits) / len(waits):.1f}", str(max(waits))))
    return _table("Characters that wait, after each piece of 4", ("text", "average", "most"), rows)


def speed(redactor: Redactor, presidio: str) -> str:
    """Megabytes in a second, and microseconds for a piece of a stream."""
    plain = [re.compile(render(parse(row.pattern))) for row in RECOGNIZERS + SECRETS_RECOGNIZERS]
    rows = []
    for name, text in (("clean prose", PROSE * 1000), ("dense matches", DENSE * 1000)):
        ours = _least(partial(_redacted, redactor, text))
        theirs = _least(partial(_searched, plain, text[:20_000]), rounds=2)
        row = [name, f"{len(text) / ours / 1e6:.1f}", f"{20_000 / theirs / 1e6:.2f}"]
        rows.append(
            (
                *row,
                f"{len(text) / 10 / _presidio(presidio, text[: len(text) // 10]) / 1e6:.3f}"
                if presidio
                else "not asked",
            )
        )
    first = _table(
        f"MB/s, whole texts, one core; {len(ENTITIES)} entities",
        ("text", "llm-extproc", f"stdlib re, {len(plain)} patterns one by one", "presidio-analyzer"),
        rows,
    )
    streams = [
        (name, f"{_per_piece(redactor.stream, text * 40):.1f}", f"{_per_piece(_restorer, text * 40):.1f}")
        for name, text in (("clean prose", PROSE), ("code", CODE), ("JSON", DOCUMENT), ("dense matches", DENSE))
    ]
    return first + "\n\n" + _table("µs for a piece of 4 characters", ("text", "redacted", "restored"), streams)


def worst(redactor: Redactor, hostile: int, rnd: random.Random) -> str:
    """The slowest of many texts made of what recognizers begin with."""
    slowest = {"whole": (0.0, ""), "in pieces of 1000": (0.0, ""), "half of it in pieces of 4": (0.0, "")}
    for _ in range(hostile):
        unit = "".join(rnd.choice(VALUES + SCRAPS)[: rnd.randint(1, 40)] for _ in range(rnd.randint(1, 6)))
        text = (unit * (HOSTILE_CHARS // len(unit) + 1))[:HOSTILE_CHARS]
        half = text[: HOSTILE_CHARS // 2]
        for name, pieces in (
            ("whole", [text]),
            ("in pieces of 1000", [text[at : at + 1000] for at in range(0, len(text), 1000)]),
            ("half of it in pieces of 4", [half[at : at + 4] for at in range(0, len(half), 4)]),
        ):
            spent = _least(partial(_joined, redactor.stream(Placeholders()), pieces), rounds=1)
            slowest[name] = max(slowest[name], (spent, unit))
    rows = [(name, f"{seconds * 1e3:.0f}", f"`{unit[:60]!r}`") for name, (seconds, unit) in slowest.items()]
    title = f"The slowest of {hostile:,} hostile texts of {HOSTILE_CHARS // 1024} KiB"
    return _table(title, ("text", "ms", "made of"), rows)


def _redacted(redactor: Redactor, text: str) -> str:
    return redactor.redact(text, Placeholders()).text


def _searched(patterns: list[re.Pattern[str]], text: str) -> list[list[re.Match[str]]]:
    return [list(one.finditer(text)) for one in patterns]


def _random_text(rnd: random.Random) -> str:
    return "".join(rnd.choice(VALUES if rnd.random() < 0.4 else SCRAPS) for _ in range(rnd.randint(1, 12)))


def _cut(text: str, rnd: random.Random) -> Iterator[str]:
    at = 0
    while at < len(text):
        size = rnd.choice((1, 1, 2, 3, 5, 9, 30))
        yield text[at : at + size]
        at += size


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + 4] for at in range(0, len(text), 4))


def _joined(stream: Incremental, pieces: Iterable[str]) -> str:
    return "".join([stream.feed(piece) for piece in pieces]) + stream.flush()


def _restorer(vault: Placeholders) -> Restorer:
    return Restorer(vault)


def _per_piece(made: Callable[[Placeholders], Incremental], text: str) -> float:
    pieces = list(_pieces(text))

    def run() -> None:
        stream = made(Placeholders())
        for piece in pieces:
            stream.feed(piece)

    return _least(run) / len(pieces) * 1e6


def _least(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Seconds of processor time."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def _presidio(python: str, text: str) -> float:
    """Seconds of processor time."""
    command = [python, str(PRESIDIO), "seconds"]
    done = subprocess.run(command, input=json.dumps([text]), capture_output=True, text=True, check=True)
    return float(done.stdout)


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"**{title}**", "", "| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _write(text: str) -> None:
    """Put the tables between their marks."""
    readme = Path(__file__).with_name("README.md")
    before, _, rest = readme.read_text().partition("<!-- redaction -->\n")
    _, _, after = rest.partition("<!-- end of redaction -->\n")
    readme.write_text(f"{before}<!-- redaction -->\n{text}\n<!-- end of redaction -->\n{after}")


if __name__ == "__main__":
    typer.run(main)
