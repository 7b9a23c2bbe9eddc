"""Secrets by reference, resolved as late as they are needed.

A configuration names `os.environ/NAME` or `file/PATH`; only this module turns the name into a value, and it hands the
value out as a `SecretStr`, whose repr and str are stars. A file is read again when it changes, so a rotated mount is
picked up without a restart. An error names the reference and never the value. `vault/PATH/FIELD` and `aws/NAME/FIELD`
are asked of whoever keeps the secrets of this process (`secret_managers`).

The subtle thing is rotation: a mounted secret vanishes, or is empty, for a moment. The last good value serves
meanwhile, but not for ever: taking a secret away must end its use.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import SecretStr

from extproc.errors import SecretUnavailable
from extproc.model import SecretRef

#: Nobody's credential is longer; a wrong path (a log, a disk) must not be read whole.
MAX_SECRET_BYTES = 64 * 1024
#: How long a file's last good value serves while the file cannot be read.
GRACE_SECONDS = 60.0

_SCHEMES = {"os.environ/": "env", "file/": "file", "vault/": "vault", "aws/": "aws", "oidc/": "oidc"}
_NOT_YET = ("oidc",)
#: A path, and a name of a field or nothing at its end. Names of AWS may be ARNs.
_MANAGED = re.compile(r"[A-Za-z0-9_+=.@:-]+(?:/[A-Za-z0-9_+=.@:-]+)*/?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What people write when they mean a reference. Taken literally, it would be a secret that everybody can guess.
_MEANT = re.compile(
    r"\$\w+|\$?\{.*\}|(?:os\.)?(?:environ|getenv|env)\b.*|(?:file|vault|aws|oidc|gcp|azure|secret)s?:.*",
    re.IGNORECASE | re.DOTALL,
)

#: Modification time and size, and which file it is: a mount is rotated by pointing a link elsewhere.
_Version = tuple[int, int, int]


def parse_reference(text: str, folder: Path | None = None) -> SecretRef:
    """`os.environ/NAME`, `file/PATH` and their like become references; any other text is the secret itself.

    A relative PATH counts from `folder`, the configuration file's; `file//run/secrets/x` is absolute.
    """
    for prefix, scheme in _SCHEMES.items():
        if text.startswith(prefix):
            location = text.removeprefix(prefix)
            return SecretRef(scheme, str(folder / location) if folder and location and scheme == "file" else location)
    return SecretRef("literal", "", SecretStr(text))


def is_supported(reference: SecretRef) -> bool:
    """Whether there is a way to resolve references of this kind."""
    return reference.scheme not in _NOT_YET


def mistake(reference: SecretRef) -> str | None:
    """What is wrong with a reference as it is written, or `None`. Never quotes it: it may be a secret after all."""
    value = reference._literal.get_secret_value()
    match reference.scheme:
        case "env" if not _VARIABLE.fullmatch(reference.location):
            return "names no environment variable: write os.environ/NAME"
        case "file" if not reference.location or not reference.location.isprintable():
            return "names no file: write file/PATH"
        case "vault" | "aws":
            return _managed_mistake(reference)
        case "literal" if _MEANT.fullmatch(value):
            return "looks like a reference, but is none: write os.environ/NAME or file/PATH"
        case "literal" if not _sound(value.strip()):
            return "is no secret: it is empty, or holds a line break or another control character"
    return None


class Managed(Protocol):
    """Secrets that a manager keeps."""

    def handles(self, reference: SecretRef) -> bool:
        """Whether a manager is asked for it."""
        ...

    def value(self, reference: SecretRef) -> SecretStr:
        """Raises `SecretUnavailable`."""
        ...


class SecretResolver:
    """Turns references into values; remembers files for as long as they stay the same.

    `clock` tells seconds that only go forward. `managed` is of the whole process, as its configuration is.
    """

    managed: ClassVar[Managed | None] = None

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._files: dict[str, tuple[_Version, SecretStr, float]] = {}

    def resolve(self, reference: SecretRef) -> SecretStr:
        """The value, without surrounding white space.

        Raises `SecretUnavailable` where there is none, or where it is empty, longer than `MAX_SECRET_BYTES`, or holds
        a control character, which no header could carry.
        """
        managed = self.managed
        if managed is not None and managed.handles(reference):
            return managed.value(reference)
        return self.local(reference)

    def local(self, reference: SecretRef) -> SecretStr:
        """As `resolve`, whatever a manager keeps."""
        match reference.scheme:
            case "env":
                return checked(reference, os.environ.get(reference.location, ""))
            case "literal":
                return checked(reference, reference._literal.get_secret_value())
            case "file":
                return self._file(reference)
        raise SecretUnavailable(f"{reference}: no manager of secrets is in use here")

    def _file(self, reference: SecretRef) -> SecretStr:
        known = self._files.get(reference.location)
        try:
            version, value = _read(reference, known)
        except SecretUnavailable:
            if known is not None and self._clock() - known[2] <= GRACE_SECONDS:
                return known[1]
            self._files.pop(reference.location, None)
            raise
        self._files[reference.location] = (version, value, self._clock())
        return value


def _read(reference: SecretRef, known: tuple[_Version, SecretStr, float] | None) -> tuple[_Version, SecretStr]:
    """The file's version and value; not read again if its version is the known one."""
    path = Path(reference.location)
    try:
        found = path.stat()
        version = (found.st_mtime_ns, found.st_size, found.st_ino)
        if known is not None and known[0] == version:
            return version, known[1]
        # Opening a pipe waits for whoever writes to it, and all exchanges would wait with us.
        if not stat.S_ISREG(found.st_mode):
            raise SecretUnavailable(f"{reference} is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        return version, checked(reference, content.decode())
    except (OSError, ValueError) as error:
        reason = type(error).__name__
    # Raised outside of the handler: the error in hand may carry the bytes that were read.
    raise SecretUnavailable(f"{reference} cannot be read: {reason}")


def checked(reference: SecretRef, value: str) -> SecretStr:
    """The value without surrounding white space. Raises `SecretUnavailable` for one that cannot be a secret."""
    value = value.strip()
    if not value:
        raise SecretUnavailable(f"{reference} is not set or is empty")
    if len(value) > MAX_SECRET_BYTES:
        raise SecretUnavailable(f"{reference} is larger than {MAX_SECRET_BYTES} bytes")
    if not _sound(value):
        raise SecretUnavailable(f"{reference} holds a line break or another control character")
    return SecretStr(value)


def _managed_mistake(reference: SecretRef) -> str | None:
    location = reference.location
    if reference.scheme == "vault" and (not _is_path(location) or "/" not in location or location.endswith("/")):
        return "names no secret of Vault: write vault/PATH/FIELD"
    if not _is_path(location):
        return "names no secret of AWS: write aws/NAME/FIELD, or aws/NAME for the whole"
    return None


def _is_path(location: str) -> bool:
    return bool(_MANAGED.fullmatch(location)) and not {".", ".."} & {*location.split("/")}


def _sound(value: str) -> bool:
    """Whether the value is not empty, and printable: also without what cannot be encoded as UTF-8."""
    return bool(value) and value.isprintable()
