"""Files that only their owner may read, written whole or not at all.

A reader sees the old content or the new one, never a part: the new content is made durable under another name in the
same directory and takes the place by `rename` or, where nothing may be replaced, by `link`.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from extproc.errors import ConfigError

OWNER_ONLY = 0o600
OWNER_ONLY_DIRECTORY = 0o700


def write(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, mode 0600. Raises `OSError`."""
    with _Draft(path, content) as draft:
        draft.replace(path)


def create(path: Path, content: bytes) -> None:
    """Like `write`, for a file that must not be there yet. Raises `FileExistsError`, or another `OSError`."""
    with _Draft(path, content) as draft:
        os.link(draft, path, follow_symlinks=False)


def read(path: Path, limit: int) -> tuple[bytes, bool]:
    """The content of a regular file, and whether others could read it too until now: that is mended.

    Raises `FileNotFoundError`; `ConfigError` for a symbolic link, another owner's file, or more than `limit` bytes.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(file, "rb") as opened:  # noqa: PTH123 - a Path cannot be told not to follow a link
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ConfigError(f"{path} must be a regular file of the user who runs extproc")
        exposed = bool(found.st_mode & 0o077)
        if exposed:
            os.fchmod(file, OWNER_ONLY)
        content = opened.read(limit + 1)
    if len(content) > limit:
        raise ConfigError(f"{path} is larger than {limit} bytes")
    return content, exposed


def directory(path: Path) -> Path:
    """A directory that nobody else can write to, made with mode 0700 where there is none. Raises `ConfigError`."""
    try:
        path.mkdir(mode=OWNER_ONLY_DIRECTORY, parents=True, exist_ok=True)
        mode = path.stat().st_mode
    except FileExistsError:
        raise ConfigError(f"{path} is not a directory") from None
    except OSError as error:
        raise ConfigError(f"the directory {path} cannot be made: {error.strerror}") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"the directory {path} is not writable")
    if mode & 0o002:
        raise ConfigError(f"the directory {path} is writable by everyone; keys cannot be kept in it")
    return path


class _Draft:
    """New content under a name of its own, gone at the end unless it took another name."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        self._content = content

    def __fspath__(self) -> str:
        return str(self._path)

    def __enter__(self) -> _Draft:
        file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_EXCL | os.O_CLOEXEC, OWNER_ONLY)
        with open(file, "wb") as opened:  # noqa: PTH123 - the mode must be right from the first moment on
            opened.write(self._content)
            opened.flush()
            os.fsync(file)
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)

    def replace(self, path: Path) -> None:
        self._path.replace(path)
