"""Which encryption key counts, and how one of our own making is kept and changed."""

from __future__ import annotations

import stat

import pytest
from pydantic import SecretStr

from extproc.errors import ConfigError
from extproc.model import SecretRef
from extproc.settings.model import Settings
from extproc.supervisor import encryption_key, master_key

ELSEWHERE = SecretRef("literal", "", SecretStr("postgresql://localhost/db"))


def test_beside_the_embedded_database_a_key_is_made_once_for_its_owner_only(tmp_path):
    first = encryption_key.with_key(Settings(), tmp_path, {})
    content = (tmp_path / "encryption_key").read_text()
    again = encryption_key.with_key(Settings(), tmp_path, {})

    assert first == again
    assert (tmp_path / "encryption_key").read_text() == content
    assert len(content.strip()) >= 43
    assert stat.S_IMODE((tmp_path / "encryption_key").stat().st_mode) == 0o600
    assert str(first.encryption_key) == f"file/{tmp_path}/encryption_key"
    assert encryption_key.is_kept(first, tmp_path)


def test_a_shared_database_gets_none_of_our_making(tmp_path):
    settings = Settings(database_url=ELSEWHERE)

    assert encryption_key.with_key(settings, tmp_path, {}) == settings
    assert list(tmp_path.iterdir()) == []


def test_litellms_variable_counts_where_the_configuration_names_none(tmp_path, monkeypatch):
    monkeypatch.setenv("LITELLM_SALT_KEY", "a-salt-key-of-litellm")
    found = encryption_key.with_key(Settings(database_url=ELSEWHERE), tmp_path)

    assert str(found.encryption_key) == "os.environ/LITELLM_SALT_KEY"
    named = Settings(encryption_key=SecretRef("literal", "", SecretStr("another-key-0123456789")))
    assert encryption_key.with_key(named, tmp_path) == named


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (SecretRef("literal", "", SecretStr("short")), "fewer than 16"),
        (SecretRef("env", "NOT_SET_ANYWHERE"), "not available"),
        (SecretRef("file", "/nowhere/at/all"), "not available"),
    ],
)
def test_a_key_that_is_short_or_not_there_is_told_without_its_value(tmp_path, reference, words):
    with pytest.raises(ConfigError, match=words) as caught:
        encryption_key.with_key(Settings(encryption_key=reference), tmp_path, {})
    assert "short" not in str(caught.value)


def test_a_rotation_keeps_the_key_of_before(tmp_path):
    encryption_key.with_key(Settings(), tmp_path, {})
    before = (tmp_path / "encryption_key").read_text()
    encryption_key.rotate(tmp_path)

    assert (tmp_path / "encryption_key.previous").read_text() == before
    assert (tmp_path / "encryption_key").read_text() != before


def test_without_a_key_there_is_none_to_rotate(tmp_path):
    with pytest.raises(ConfigError, match="cannot be changed"):
        encryption_key.rotate(tmp_path)


def test_a_weak_previous_master_key_is_refused_and_a_missing_one_is_nobodys(tmp_path):
    weak = Settings(previous_master_keys=(SecretRef("literal", "", SecretStr("sk-password-12345678901234")),))
    with pytest.raises(ConfigError, match="previous_master_keys") as caught:
        master_key.followed(weak, tmp_path)
    assert "password" not in str(caught.value)

    missing = Settings(previous_master_keys=(SecretRef("env", "NOT_SET_ANYWHERE"),))
    assert len(master_key.followed(missing, tmp_path).previous_master_keys) == 2
