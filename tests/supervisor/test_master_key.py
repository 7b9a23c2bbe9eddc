"""The administrator's key: configured, kept or made, and never a weak one."""

from __future__ import annotations

import re
import stat
import subprocess

import pytest
from supervisor.powerless import refusal_of

from extproc.errors import ConfigError
from extproc.model import SecretRef
from extproc.supervisor import master_key

STRONG = "sk-9fQ2vLx7RtB4mWc8ZpJd"


def told(key):
    shown: list[str] = []
    said: list[str] = []
    master_key.announce(key, shown.append, said.append)
    return shown, said


def test_a_key_is_made_kept_for_its_owner_and_shown_once(tmp_path):
    made = master_key.resolve(None, tmp_path)
    value = made.value.get_secret_value()

    assert re.fullmatch("sk-[0-9a-f]{64}", value)
    assert (tmp_path / "master_key").read_text() == f"{value}\n"
    assert stat.S_IMODE((tmp_path / "master_key").stat().st_mode) == 0o600
    assert told(made) == ([f"master key, shown only now and kept in {tmp_path}/master_key: {value}"], [])


def test_a_kept_key_is_used_again_and_not_shown(tmp_path):
    made = master_key.resolve(None, tmp_path)
    kept = master_key.resolve(None, tmp_path)

    assert kept.value == made.value
    assert told(kept) == ([], [])


def test_a_key_that_others_could_read_is_mended_with_a_warning(tmp_path):
    master_key.resolve(None, tmp_path)
    (tmp_path / "master_key").chmod(0o644)

    shown, said = told(master_key.resolve(None, tmp_path))

    assert shown == []
    assert said == [
        f"warning: {tmp_path}/master_key could be read by others and is private again; consider a new master key"
    ]
    assert stat.S_IMODE((tmp_path / "master_key").stat().st_mode) == 0o600


def test_a_configured_key_is_taken_and_none_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_MASTER", STRONG)

    key = master_key.resolve(SecretRef("env", "MY_MASTER"), tmp_path)

    assert key.value.get_secret_value() == STRONG
    assert list(tmp_path.iterdir()) == []


def test_a_configured_key_that_is_not_there_is_refused_by_its_name(tmp_path, monkeypatch):
    monkeypatch.delenv("MY_MASTER", raising=False)

    with pytest.raises(ConfigError, match=r"the master key is not available: .*MY_MASTER"):
        master_key.resolve(SecretRef("env", "MY_MASTER"), tmp_path)


def test_a_kept_key_that_is_damaged_is_refused_and_not_replaced(tmp_path):
    (tmp_path / "master_key").write_text("sk-")
    (tmp_path / "master_key").chmod(0o600)

    with pytest.raises(ConfigError, match="is weak"):
        master_key.resolve(None, tmp_path)
    assert (tmp_path / "master_key").read_text() == "sk-"


def test_a_kept_key_behind_a_link_is_refused(tmp_path):
    (tmp_path / "elsewhere").write_text(STRONG)
    (tmp_path / "master_key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ConfigError, match=r"the master key .* cannot be read"):
        master_key.resolve(None, tmp_path)


@pytest.mark.parametrize(
    ("weak", "reason"),
    [
        ("9fQ2vLx7RtB4mWc8ZpJd", "must start with 'sk-'"),
        ("sk-", "is weak: fewer than 16 characters"),
        ("sk-1234", "is weak: fewer than 16 characters"),
        ("sk-change-me-change-me-change-me", "is weak: fewer than 16 characters"),
        ("sk-my-litellm-master-key-password-1234", "is weak: fewer than 16 characters"),
        ("sk-" + "a1" * 20, "is weak: it has fewer than 8 different characters"),
        ("sk-" + "x9Kq2mZp" * 3, "is weak: it repeats itself"),
        ("sk-abcdefghijklmnopqrstuvw", "is weak: most of it is a run"),
        ("sk-zyxwvutsrqponmlkjihgfed", "is weak: most of it is a run"),
        ("sk-9fQ2vLx7RtB4 mWc8ZpJd", "must have at most 512 characters, all visible ASCII"),
        ("sk-9fQ2vLx7RtB4mWc8ZpJdé", "must have at most 512 characters, all visible ASCII"),
        ("sk-" + "9fQ2vLx7RtB4mWc8ZpJd" * 30, "must have at most 512 characters, all visible ASCII"),
    ],
)
def test_a_weak_key_is_refused_with_a_reason(weak, reason):
    assert master_key.weakness(weak).startswith(reason)


def test_the_refusal_is_one_sentence_that_helps_and_does_not_show_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_MASTER", "sk-hunter2hunter2")

    with pytest.raises(ConfigError) as refused:
        master_key.resolve(SecretRef("env", "MY_MASTER"), tmp_path)

    text = str(refused.value)
    assert "general_settings.master_key: os.environ/MY_MASTER" in text
    assert "hunter2" not in text
    assert "\n" not in text
    advice = text.partition("make one with: ")[2]
    made = subprocess.run(["sh", "-c", advice], capture_output=True, text=True, check=True).stdout.strip()
    assert master_key.weakness(made) is None


def test_what_is_made_is_never_refused():
    assert [master_key.weakness(master_key.generate()) for _ in range(500)] == [None] * 500


def in_shell(key):
    """What a shell puts in the place of `key.shell` within double quotes."""
    return subprocess.run(["sh", "-c", f'printf %s "{key.shell}"'], capture_output=True, text=True, check=True).stdout


def test_the_shell_reads_the_key_from_where_it_is(tmp_path, monkeypatch):
    folder = tmp_path / "it's a $(folder)"
    folder.mkdir()
    monkeypatch.setenv("MY_MASTER", STRONG)
    (tmp_path / "key file").write_text(STRONG)
    made = master_key.resolve(None, folder)

    assert in_shell(made) == made.value.get_secret_value()
    assert in_shell(master_key.resolve(SecretRef("env", "MY_MASTER"), folder)) == STRONG
    assert in_shell(master_key.resolve(SecretRef("file", str(tmp_path / "key file")), folder)) == STRONG


def test_the_key_is_not_in_any_representation(tmp_path):
    made = master_key.resolve(None, tmp_path)

    assert made.value.get_secret_value() not in f"{made!r} {made}"


def test_a_key_that_cannot_be_kept_is_refused(tmp_path):
    (tmp_path / "data").mkdir(mode=0o500)
    imports = "import pathlib, sys; from extproc.supervisor import master_key"
    code = f"{imports}; master_key.resolve(None, pathlib.Path(sys.argv[1]))"

    assert refusal_of(code, f"{tmp_path}/data").startswith("the master key cannot be kept in")
