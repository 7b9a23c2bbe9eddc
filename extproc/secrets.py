"""Secrets by reference, resolved as late as they are needed.

A configuration names `os.environ/NAME` or `file/PATH`; only this module turns the name into a value, and it hands the
value out as a `SecretStr`, whose repr and str are stars. A file is read again when its modification time changes, so a
rotated mount is picked up without a restart; an error names the reference and never the value.
"""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import SecretStr

from extproc.errors import SecretUnavailable
from extproc.model import SecretRef

#: Nobody's credential is longer; a wrong path (a log, a disk) must not be read whole.
MAX_SECRET_BYTES = 64 * 1024


def parse_reference(text: str) -> SecretRef:
    """`os.environ/NAME` and `file/PATH` become references; any other text is the secret itself."""
    if text.startswith("os.environ/"):
        return SecretRef("env", text.removeprefix("os.environ/"))
    if text.startswith("file/"):
        return SecretRef("file", text.removeprefix("file/"))
    return SecretRef("literal", "", text)


class SecretResolver:
    """Turns references into values; remembers files by modification time."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[tuple[int, int], SecretStr]] = {}

    def resolve(self, reference: SecretRef) -> SecretStr:
        """The value, without surrounding white space. Raises `SecretUnavailable` where there is none, or an empty one."""
        match reference.scheme:
            case "env":
                value = SecretStr(os.environ.get(reference.location, "").strip())
            case "file":
                value = self._read(reference)
            case _:
                value = SecretStr(reference._literal.strip())
        if not value.get_secret_value():
            raise SecretUnavailable(f"{reference} is not set or is empty")
        return value

    def _read(self, reference: SecretRef) -> SecretStr:
        path = Path(reference.location)
        try:
            stat = path.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            known = self._files.get(reference.location)
            if known and known[0] == version:
                return known[1]
            with path.open("rb") as file:
                content = file.read(MAX_SECRET_BYTES + 1)
            if len(content) > MAX_SECRET_BYTES:
                raise SecretUnavailable(f"{reference} is larger than {MAX_SECRET_BYTES} bytes")
            value = SecretStr(content.decode().strip())
        except (OSError, UnicodeDecodeError) as error:
            # A mounted secret vanishes for a moment when it is rotated: the last good value serves meanwhile.
            if reference.location in self._files:
                return self._files[reference.location][1]
            raise SecretUnavailable(f"{reference} cannot be read: {type(error).__name__}") from None
        self._files[reference.location] = (version, value)
        return value
