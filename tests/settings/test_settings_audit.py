"""Whether the audit trail is kept, and with which key."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from extproc import opening, settings
from extproc.errors import ConfigError

MASTER = SecretStr("sk-a-master-key-of-the-tests")


def loaded(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return settings.load(path, strict=True)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("{}", True),
        ("general_settings: {store_audit_logs: true}", True),
        ("litellm_settings: {store_audit_logs: true}", True),
        ("general_settings: {store_audit_logs: false}", False),
        ("litellm_settings: {store_audit_logs: false}", False),
    ],
)
def test_it_is_kept_unless_either_section_says_no(tmp_path, text, kept):
    found = loaded(tmp_path, text)

    assert found.store_audit_logs is kept
    assert (opening.audit_key(found, MASTER) is not None) is kept


def test_its_own_key_counts_before_the_encryption_key_and_the_master_key(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIT", "a key of the audit trail's own")
    monkeypatch.setenv("SALT", "an encryption key of the tests")
    salted = "general_settings: {encryption_key: os.environ/SALT}\n"
    files = ("{}", salted, salted + "extproc_settings: {audit_key: os.environ/AUDIT}\n")
    found = [loaded(tmp_path, text) for text in files]
    ids = [getattr(opening.audit_key(each, MASTER), "id", None) for each in found]

    assert len({*ids}) == 3
    assert ids[2] in [key.id for key in opening.audit_keys(found[2])]
    assert ids[1] in [key.id for key in opening.audit_keys(found[2])]


def test_a_short_key_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIT", "short")
    with pytest.raises(ConfigError, match="audit_key has fewer than 16 characters"):
        opening.audit_key(loaded(tmp_path, "extproc_settings: {audit_key: os.environ/AUDIT}"), MASTER)
