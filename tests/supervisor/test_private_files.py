"""Files for their owner only, written whole or not at all."""

from __future__ import annotations

import os
import stat

import pytest
from supervisor.powerless import refusal_of

from extproc.errors import ConfigError
from extproc.supervisor import private_files


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o077])
@pytest.mark.parametrize("store", [private_files.write, private_files.create])
def test_a_file_is_for_its_owner_only_whatever_the_umask(tmp_path, store, umask):
    before = os.umask(umask)
    try:
        store(tmp_path / "key", b"content")
    finally:
        os.umask(before)

    assert mode(tmp_path / "key") == 0o600
    assert (tmp_path / "key").read_bytes() == b"content"


def test_a_file_is_replaced_whole_while_readers_keep_the_old_one(tmp_path):
    path = tmp_path / "key"
    private_files.write(path, b"old content")
    with path.open("rb") as reader:
        private_files.write(path, b"new")

        assert reader.read() == b"old content"
    assert path.read_bytes() == b"new"


def test_creating_never_replaces_and_leaves_nothing_beside(tmp_path):
    private_files.create(tmp_path / "key", b"first")

    with pytest.raises(FileExistsError):
        private_files.create(tmp_path / "key", b"second")

    assert (tmp_path / "key").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_link_is_not_written_through(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"untouched")
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")

    private_files.write(tmp_path / "key", b"content")

    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"
    assert not (tmp_path / "key").is_symlink()


def test_reading_says_whether_others_could_read_and_mends_it(tmp_path):
    path = tmp_path / "key"
    private_files.write(path, b"content")
    assert private_files.read(path, 100) == (b"content", False)
    path.chmod(0o644)

    assert private_files.read(path, 100) == (b"content", True)
    assert mode(path) == 0o600


def test_a_link_is_not_read(tmp_path):
    private_files.write(tmp_path / "elsewhere", b"content")
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        private_files.read(tmp_path / "key", 100)


def test_a_directory_is_not_read(tmp_path):
    with pytest.raises(IsADirectoryError):
        private_files.read(tmp_path, 100)


def test_what_is_larger_than_the_limit_is_refused(tmp_path):
    private_files.write(tmp_path / "key", b"12345")

    assert private_files.read(tmp_path / "key", 5)[0] == b"12345"
    with pytest.raises(ConfigError, match="is larger than 4 bytes"):
        private_files.read(tmp_path / "key", 4)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        private_files.read(tmp_path / "key", 100)


def test_a_directory_is_made_with_its_parents_for_the_owner_only(tmp_path):
    made = private_files.directory(tmp_path / "one" / "two")

    assert mode(made) == 0o700


def test_a_directory_that_everyone_can_write_to_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)

    with pytest.raises(ConfigError, match="writable by everyone; keys cannot be kept in it"):
        private_files.directory(tmp_path / "data")


def test_a_file_is_no_directory(tmp_path):
    (tmp_path / "data").write_text("")

    with pytest.raises(ConfigError, match="is not a directory"):
        private_files.directory(tmp_path / "data")
    with pytest.raises(ConfigError, match="cannot be made: Not a directory"):
        private_files.directory(tmp_path / "data" / "below")


def test_a_directory_that_cannot_be_written_to_is_refused(tmp_path):
    (tmp_path / "data").mkdir(mode=0o500)
    code = (
        "import pathlib, sys; from extproc.supervisor import private_files as f; f.directory(pathlib.Path(sys.argv[1]))"
    )

    assert refusal_of(code, f"{tmp_path}/data") == f"the directory {tmp_path}/data is not writable"
