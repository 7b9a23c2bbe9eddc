"""Whose texts come encrypted, and with which key."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from extproc import settings
from extproc.errors import ConfigError, SecretUnavailable
from extproc.guardrails import Selectors
from extproc.model import Key, SecretRef
from extproc.payload_keys import PayloadKey, PayloadKeys
from extproc.secrets import SecretResolver

ONE, TWO = Fernet.generate_key().decode(), Fernet.generate_key().decode()
PATH = "/v1/chat/completions"


def key(**fields: str) -> Key:
    return Key(digest="d", name="sk-...", **fields)  # type: ignore[arg-type]


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> PayloadKeys:
    monkeypatch.setenv("ONE", ONE)
    monkeypatch.setenv("TWO", TWO)
    monkeypatch.setenv("ODD", "no-fernet-key-0123456789")
    rows = [
        PayloadKey(SecretRef("env", "ONE"), Selectors(keys=("front-*",), models=("gpt-*",))),
        PayloadKey(SecretRef("env", "TWO"), Selectors(teams=("t",))),
        PayloadKey(SecretRef("env", "ODD"), Selectors(keys=("odd",))),
    ]
    resolver = SecretResolver()
    return PayloadKeys(rows, lambda reference: resolver.resolve(reference).get_secret_value())


@pytest.mark.parametrize(
    ("who", "model", "secret"),
    [
        (key(alias="front-end"), "gpt-4o", ONE),
        (key(alias="front-end", team_id="t"), "gpt-4o", ONE),
        (key(alias="front-end", team_id="t"), "other", TWO),
        (key(alias="front-end"), "other", None),
        (key(), "gpt-4o", None),
    ],
    # Keys are random, and every process must give its tests the same names.
    ids=range(5),
)
def test_the_first_row_that_fits_holds(keys, who, model, secret):
    sealing = keys.choose(who, model, PATH)

    if secret is None:
        assert sealing is None
    else:
        assert Fernet(secret).decrypt(sealing.seal("x").encode()) == b"x"


def test_a_key_that_is_rotated_is_used_at_once(keys, monkeypatch):
    keys.choose(key(team_id="t"), "m", PATH)
    monkeypatch.setenv("TWO", ONE)

    assert Fernet(ONE).decrypt(keys.choose(key(team_id="t"), "m", PATH).seal("x").encode()) == b"x"


def test_what_is_no_fernet_key_is_told_by_its_reference_alone(keys, monkeypatch):
    with pytest.raises(SecretUnavailable, match=r"os\.environ/ODD is no Fernet key") as odd:
        keys.choose(key(alias="odd"), "m", PATH)
    assert "0123456789" not in str(odd.value)

    monkeypatch.delenv("ODD")
    with pytest.raises(SecretUnavailable):
        keys.choose(key(alias="odd"), "m", PATH)


def test_the_file_names_keys_by_reference(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "extproc_settings: {payload_encryption: [{key: os.environ/ONE, keys: [front-*], paths: ['/v1/*']}]}"
    )

    found = settings.load(file, strict=True)

    assert found.payload_encryption == (
        PayloadKey(SecretRef("env", "ONE"), Selectors(keys=("front-*",), paths=("/v1/*",))),
    )
    assert SecretRef("env", "ONE") in found.references


def test_a_row_without_a_key_is_a_mistake(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("extproc_settings: {payload_encryption: [{keys: [front-*]}]}")

    with pytest.raises(ConfigError, match="key is missing"):
        settings.load(file)
