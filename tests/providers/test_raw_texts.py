"""The walk over JSON that is not read yet: in pieces, it is the walk over what was read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from providers.test_texts import Shouting

from extproc.errors import RedactionFailed, UnknownShape
from extproc.framing import pieces as pieces_module
from extproc.providers import raw_texts
from extproc.providers.raw_texts import walk_document, walk_json
from extproc.providers.texts import DROP, FREE, JSON, KEEP, TEXT, TOKENS, Fields, Media, Parts, Spec, walk


def test_a_document_is_rewritten_in_place_and_what_is_kept_is_not_even_read():
    document = {"model": msgspec.Raw(b'"m"'), "odd": msgspec.Raw(b'{"a":  "b"}'), "same": msgspec.Raw(b'"ABC"')}

    walk_document(document, {"model": KEEP}, Shouting())

    assert {name: bytes(raw) for name, raw in document.items()} == {
        "model": b'"m"', "odd": b'{"A":"B"}', "same": b'"ABC"',
    }  # fmt: skip


def test_the_name_of_a_document_s_field_is_rewritten_in_its_place():
    document = {"a": msgspec.Raw(b"1"), "Ann@x": msgspec.Raw(b"2"), "b": msgspec.Raw(b"3")}

    walk_document(document, {}, Shouting())

    assert [(name, bytes(raw)) for name, raw in document.items()] == [("a", b"1"), ("ANN@X", b"2"), ("b", b"3")]


#: Every kind of table, and tables in tables.
_PARTS = Parts({"t": Fields({"type": KEEP, "x": TEXT}), "m": Media("image"), "k": KEEP})
_SPECS: tuple[Spec, ...] = (
    KEEP, TEXT, JSON, FREE, DROP, TOKENS, Media("image"), _PARTS,
    Fields({"a": KEEP, "b": _PARTS, "c": Fields({"a": JSON})}),
)  # fmt: skip
_words = st.text(st.sampled_from('ab"\\,[ é'), max_size=3)
_values = st.recursive(
    st.none() | st.booleans() | st.sampled_from((7, 1e15)) | _words,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from("abcx") | _words, inner, max_size=4)
        | st.fixed_dictionaries({"type": st.sampled_from(("t", "m", "k", "z"))}, optional={"x": inner})
    ),
    max_leaves=12,
)


def _outcome(work: Callable[[Shouting], Any]) -> tuple[Any, list[str]]:
    """What comes of it, with what was met of media; or that it is refused."""
    shouting = Shouting()
    try:
        return work(shouting), shouting.met
    except UnknownShape:
        return "refused", []


@given(
    st.one_of(_values, st.lists(_values)), st.sampled_from(_SPECS), st.integers(0, 3), st.integers(0, 4), st.booleans()
)
def test_what_is_read_in_pieces_is_rewritten_as_if_it_were_read_at_once(value, spec, most, deepest, indented):
    raw = json.dumps(value, indent=1 if indented else None).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_texts, "MOST_AT_ONCE", most)
        patch.setattr(raw_texts, "DEEPEST", deepest)
        patch.setattr(pieces_module, "PIECE_BYTES", 4 * most)
        in_pieces = _outcome(lambda by: json.loads(walk_json(raw, spec, by)))

    assert in_pieces == _outcome(lambda by: walk(json.loads(raw), spec, by))


def test_a_text_of_many_small_values_is_never_read_as_a_whole(monkeypatch):
    read: list[int] = []
    decode = msgspec.json.decode

    def noting(raw: bytes, **kind: Any) -> Any:
        """What is not read yet is only looked through."""
        if not kind:
            read.append(len(raw))
        return decode(raw, **kind)

    monkeypatch.setattr(msgspec.json, "decode", noting)
    document = {
        "free": msgspec.Raw(json.dumps({"deep": [[{"k": 1}] * 50_000]}).encode()),
        "kept": msgspec.Raw(json.dumps(["id"] * 200_000).encode()),
        "parts": msgspec.Raw(json.dumps([{"type": "t", "x": "a"}] * 50_000).encode()),
        "fields": msgspec.Raw(json.dumps({"b": [{"type": "t", "x": {"many": [0] * 200_000}}]}).encode()),
    }
    spec: dict[str, Spec] = {"kept": KEEP, "parts": _PARTS, "fields": _SPECS[-1]}

    walk_document(document, spec, Shouting())

    assert len(bytes(document["free"])) > 400_000
    assert max(read) < 10_000


def test_a_large_text_in_which_nothing_changes_keeps_its_values():
    raw = json.dumps({"a": list(range(10_000))}).encode()

    assert json.loads(walk_json(raw, KEEP, Shouting())) == {"a": list(range(10_000))}


@pytest.mark.parametrize("value", [["a"] * 10_000, {f"a{place}": 1 for place in range(10_000)}])
def test_what_is_left_out_is_left_out_unread_and_media_is_told_of(value):
    raw, shouting = json.dumps(value).encode(), Shouting()

    assert walk_json(raw, DROP, shouting) == b"null"
    assert json.loads(walk_json(raw, Media("image"), shouting)) == value
    assert shouting.met == ["image"]


@pytest.mark.parametrize(
    "value", [["a"] * 100_000, {f"a{place}": 1 for place in range(100_000)}, {"a": [["b"] * 100_000]}]
)
def test_whoever_has_no_more_time_ends_the_walk(value):
    shouting = Shouting()

    def late() -> None:
        raise RedactionFailed("timeout")

    with pytest.raises(RedactionFailed, match="timeout"):
        walk_json(json.dumps(value).encode(), KEEP, shouting, late)


def test_only_the_outer_levels_are_looked_through_once_more(monkeypatch):
    cut: list[int] = []

    def noting(raw: bytes) -> Iterator[bytes]:
        cut.append(len(raw))
        return pieces_module.pieces(raw)

    monkeypatch.setattr(raw_texts, "pieces", noting)
    deep = b"[" * 100 + b"1," * 10_000 + b"1" + b"]" * 100

    assert json.loads(walk_json(deep, KEEP, Shouting())) == json.loads(deep)
    assert len(cut) == raw_texts.DEEPEST


@pytest.mark.parametrize(
    ("value", "spec"),
    [
        ([["a"] * 10_000], TEXT),
        ([1] * 10_000, TOKENS),
        ([1, "a," * 10_000], TEXT),
        ([None, "a," * 10_000], TOKENS),
        ({"a": [1] * 10_000}, TOKENS),
        ({"type": "t", "x": [1] * 10_000}, _PARTS),
        ([[1] * 10_000], _PARTS),
        ([{"type": "hologram", "x": [1] * 10_000}], _PARTS),
        ([{"type": ["t"] * 10_000}], _PARTS),
    ],
)
def test_large_content_of_a_shape_that_nobody_knows_is_an_error(value, spec):
    with pytest.raises(UnknownShape):
        walk_json(json.dumps(value).encode(), spec, Shouting())
