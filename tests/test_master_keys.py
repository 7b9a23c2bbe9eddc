"""The master keys that are accepted follow what stands in their files."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from extproc.master_keys import MasterKeys
from extproc.model import MASTER_KEY_DIGEST, SecretRef
from extproc.policy import credentials
from extproc.policy.credentials import MASTER_KEY, PREVIOUS_MASTER_KEY, Credential, administrator
from extproc.settings.model import Settings

OLD, NEW = "sk-the-old-one-0123456789", "sk-the-new-one-0123456789"


@pytest.fixture
def keys(tmp_path):
    (tmp_path / "key").write_text(OLD + "\n")
    references = [SecretRef("file", str(tmp_path / name)) for name in ("key", "previous")]
    settings = Settings(master_key=references[0], previous_master_keys=(references[1],))
    return MasterKeys(settings, SecretStr(OLD))


def who(keys: MasterKeys, key: str):
    return administrator(Credential(credentials.digest(key)), keys.current, keys.previous)


def test_a_new_key_and_the_one_before_it_are_both_the_administrators(keys, tmp_path):
    changes: list[int] = []
    keys.changed = lambda: changes.append(1)
    keys.look()
    (tmp_path / "previous").write_text(OLD)
    (tmp_path / "key").write_text(NEW)
    keys.look()

    assert (who(keys, NEW), who(keys, OLD), who(keys, "sk-another")) == (MASTER_KEY, PREVIOUS_MASTER_KEY, None)
    assert changes == [1]


def test_a_previous_key_that_is_taken_away_ends_at_once(keys, tmp_path):
    (tmp_path / "previous").write_text(NEW)
    keys.look()
    (tmp_path / "previous").unlink()
    keys.look()

    assert who(keys, NEW) is None
    assert who(keys, OLD) is MASTER_KEY


@pytest.mark.parametrize("content", ["", "sk-1234", "no-key-of-ours-0123456789", "sk-two\nlines-0123456789"])
def test_what_is_no_master_key_changes_nothing(keys, tmp_path, content):
    (tmp_path / "key").write_text(content)
    (tmp_path / "previous").write_text(content)
    keys.look()

    assert who(keys, OLD) is MASTER_KEY
    assert keys.previous == ()


def test_a_key_that_cannot_be_read_any_more_stays(keys, tmp_path):
    (tmp_path / "key").unlink()
    keys.look()

    assert who(keys, OLD) is MASTER_KEY


def test_by_its_previous_key_the_administrator_is_the_same_and_told_apart():
    assert PREVIOUS_MASTER_KEY.digest == MASTER_KEY_DIGEST
    assert PREVIOUS_MASTER_KEY.alias == "previous master key"
