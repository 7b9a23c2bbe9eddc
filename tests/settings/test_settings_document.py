"""YAML with the place of everything in it."""

from __future__ import annotations

from decimal import Decimal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from extproc.errors import ConfigError
from extproc.settings import document


def parse(text: str | bytes) -> document.Document:
    return document.parse(text.encode() if isinstance(text, str) else text, "c.yaml")


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Cn", "Co"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))


@given(st.dictionaries(TEXTS, TREES, max_size=5))
def test_what_yaml_writes_is_read_as_it_was(tree):
    assert parse(yaml.safe_dump(tree, allow_unicode=True)).root == tree


def test_every_key_and_value_has_its_line_and_column():
    found = parse("model_list:\n  - model_name: a\n    litellm_params: {model: gpt-4o}\n")

    assert found.at_key(("model_list", 0, "litellm_params")) == "c.yaml:3:5"
    assert found.at_value(("model_list", 0, "litellm_params", "model")) == "c.yaml:3:29"


def test_what_is_not_there_is_placed_at_what_is_around_it():
    found = parse("a:\n  b: 1\n")

    assert found.at_value(("a", "missing", "deeper")) == "c.yaml:2:3"


def test_a_fraction_is_exact():
    assert parse("price: 0.00000015\n").root == {"price": Decimal("0.00000015")}


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "{a: 1, b: 2, a: 3}", "x:\n  a: 1\n  a: 1\n"])
def test_a_key_that_is_given_twice_is_refused(text):
    with pytest.raises(ConfigError, match=r"c\.yaml:\d+:\d+: 'a' is given twice"):
        parse(text)


def test_a_merge_gives_what_the_mapping_does_not_say_itself():
    text = "base: &base {a: 1, b: 2}\nmore: &more {b: 7, c: 8}\nown:\n  <<: [*base, *more]\n  a: 3\n"

    assert parse(text).root["own"] == {"a": 3, "b": 2, "c": 8}


def test_nothing_but_a_mapping_can_be_merged():
    with pytest.raises(ConfigError, match=r"c\.yaml:2:8: only mappings can be merged"):
        parse("a:\n  <<: [1]\n")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n"])
def test_an_empty_file_is_an_empty_mapping(text):
    assert parse(text).root == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", r"c\.yaml:\d+:\d+: "),
        ("a: 1\n--- \nb: 2\n", r"c\.yaml:\d+:\d+: .*document"),
        ("a: !!python/object/apply:os.system [ls]\n", r"c\.yaml:1:4: "),
        ("a: !secret x\n", r"c\.yaml:1:4: the tag !secret is not supported"),
        ("a: *nowhere\n", r"c\.yaml:1:4: .*undefined alias"),
        ("? [1]\n: 2\n", r"c\.yaml:1:3: a name must be a text"),
        ("a: \x01\n", "not YAML|special characters"),
        (b"a: \xff\n", r"c\.yaml: the configuration is not UTF-8 \(byte 3\)"),
        ("a: !!int x\n", r"c\.yaml:1:4: not a valid int"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_place(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text)


def test_aliases_cannot_grow_without_bound():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    with pytest.raises(ConfigError, match="more than 100000 values"):
        parse("\n".join(lines))


def test_a_mapping_that_contains_itself_is_refused():
    with pytest.raises(ConfigError, match="nested deeper than 32 levels"):
        parse("a: &a\n  b: *a\n")


def test_a_merge_of_itself_is_refused():
    with pytest.raises(ConfigError, match="nested deeper than 32 levels"):
        parse("a: &a\n  <<: *a\n")


def test_nesting_is_bounded():
    with pytest.raises(ConfigError, match="nested deeper"):
        parse("a: " + "[" * 2_000 + "]" * 2_000)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="the configuration cannot be read: No such file or directory"):
        document.read(tmp_path / "none.yaml")


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"#" * (document.MAX_FILE_BYTES + 1))

    with pytest.raises(ConfigError, match="larger than"):
        document.read(path)


def test_a_syntax_error_does_not_quote_what_stands_there():
    with pytest.raises(ConfigError) as refused:
        parse("master_key: 'sk-very-secret\n")

    assert "sk-very-secret" not in str(refused.value)
