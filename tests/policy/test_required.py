"""Parameters that a key or its team demands of every request."""

from __future__ import annotations

import json

import msgspec
import pytest

from extproc.model import Key, Team
from extproc.policy import required


def missing(key: Key, **body: object) -> str | None:
    document = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in body.items()}
    refusal = required.check(key, document)
    if refusal is not None:
        assert (refusal.status, refusal.kind) == (400, "invalid_request_error")
    return refusal.param if refusal else None


def key(*names: object, team: object = None) -> Key:
    owner = Team(id="t", metadata={"enforced_params": team}) if team is not None else None
    return Key(digest="d", name="k", fields={"enforced_params": list(names)}, team=owner)


@pytest.mark.parametrize("body", [{}, {"user": None}, {"users": "u"}])
def test_a_body_without_a_demanded_parameter_is_refused(body):
    assert missing(key("user"), **body) == "user"


@pytest.mark.parametrize("value", ["u", "", 0, False, [], {}])
def test_any_value_but_null_is_there(value):
    assert missing(key("user"), user=value) is None


@pytest.mark.parametrize("metadata", [None, {}, "text", ["project"], {"project": None}])
def test_what_is_demanded_inside_an_object_must_be_inside_it(metadata):
    assert missing(key("metadata.project"), metadata=metadata) == "metadata.project"
    assert missing(key("metadata.project"), metadata={"project": "p"}) is None


def test_the_first_that_is_missing_is_told_and_the_teams_come_last():
    both = key("a", "b", team=["c"])

    assert [missing(both), missing(both, a=1), missing(both, a=1, b=1), missing(both, a=1, b=1, c=1)] == [
        "a", "b", "c", None,
    ]  # fmt: skip


@pytest.mark.parametrize("names", [[], [7], [None]])
def test_nothing_is_demanded_where_nothing_is_named(names):
    assert missing(key(*names)) is None
    assert missing(Key(digest="d", name="k")) is None
    assert missing(Key(digest="d", name="k", team=Team(id="t", metadata={"enforced_params": "user"}))) is None
