"""The master key: from the configuration, or made once and kept beside the data.

Whoever holds it is the administrator, so a weak one is refused at the start, as LiteLLM does. The rules, for a key
`sk-SECRET`:

* only visible ASCII, at most 512 characters, as everything else that may stand in a credential header;
* known words (`changeme`, `password`, `1234`, …), wherever they stand, and separators count for nothing;
* of what remains, at least 16 characters, 8 of them different;
* not one short piece repeated, and not mostly a run such as `abcdef` or `987654`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
from pydantic import SecretStr

from extproc.errors import ConfigError, SecretUnavailable
from extproc.model import SecretRef
from extproc.policy.credentials import MAX_KEY_LENGTH
from extproc.secrets import SecretResolver
from extproc.settings.model import Settings
from extproc.supervisor import private_files

FILE = "master_key"
PREVIOUS_FILE = "master_key.previous"
PREFIX = "sk-"
MIN_CHARACTERS = 16
MIN_DIFFERENT = 8
RANDOM_BYTES = 32

_KNOWN_WORDS = re.compile(
    r"change[-_ ]?(?:me|it|this)|pass[-_ ]?w(?:or)?d|passwort|secret|default|example|sample|insert|replace|dummy"
    r"|foobar|test|demo|admin|root|master|litellm|extproc|openai|proxy|gateway|virtual|token|your|here|key|my"
    r"|qwertyuiop|qwertz|qwerty|asdfghjkl|asdf|zxcvbnm|letmein|welcome|deadbeef|1234567890|123456789|0123456789|1234"
    r"|[-_.~+/=]",
    re.IGNORECASE,
)


class MasterKey(msgspec.Struct, frozen=True):
    """The key, where it came from, and what the operator should be told.

    `shell` gives the key to a command without showing it: an expression for a POSIX shell's double quotes. `file` is
    where it is kept, unless the configuration names it; `created` is whether it was made just now. `warning` is a
    sentence, or empty.
    """

    value: SecretStr
    shell: str
    file: Path | None = None
    created: bool = False
    warning: str = ""


def resolve(reference: SecretRef | None, data_dir: Path) -> MasterKey:
    """The configured key, else the kept one, else a new one. Raises `ConfigError` for a weak or unavailable one."""
    if reference is not None:
        return _configured(reference)
    path = data_dir / FILE
    try:
        return _kept(path)
    except FileNotFoundError:
        return _made(path)
    except OSError as error:
        raise ConfigError(f"the master key {path} cannot be read: {error.strerror}") from None


def announce(key: MasterKey, show: Callable[[str], None], say: Callable[[str], None]) -> None:
    """Tell the operator what there is to tell; a new key is shown, this once."""
    if key.warning:
        say(f"warning: {key.warning}")
    if key.created:
        show(f"master key, shown only now and kept in {key.file}: {key.value.get_secret_value()}")


def followed(settings: Settings, data_dir: Path) -> Settings:
    """The settings with the files of a kept key, and of the one before it, for a process that reads them again.

    Raises `ConfigError` for a weak previous key; one that is not there is nobody's.
    """
    for reference in settings.previous_master_keys:
        with contextlib.suppress(SecretUnavailable):
            value = SecretResolver().resolve(reference)
            _refuse_weak(value, f"(general_settings.previous_master_keys: {reference})")
    if settings.master_key is not None:
        return settings
    current, previous = (SecretRef("file", str(data_dir / name)) for name in (FILE, PREVIOUS_FILE))
    return msgspec.structs.replace(
        settings, master_key=current, previous_master_keys=(*settings.previous_master_keys, previous)
    )


def rotate(data_dir: Path) -> MasterKey:
    """A new key in the place of the kept one, which goes on being accepted as the previous one. The one before that
    ends. Raises `ConfigError`."""
    path = data_dir / FILE
    try:
        old = _kept(path)
        private_files.write(data_dir / PREVIOUS_FILE, old.value.get_secret_value().encode() + b"\n")
        new = SecretStr(generate())
        private_files.write(path, new.get_secret_value().encode() + b"\n")
    except FileNotFoundError:
        raise ConfigError(f"there is no master key in {data_dir} yet: the first start makes one") from None
    except OSError as error:
        raise ConfigError(f"the master key {path} cannot be changed: {error.strerror}") from None
    return MasterKey(new, _cat(path), path, created=True)


def end_previous(data_dir: Path) -> bool:
    """Refuse the previous key from now on; whether there was one."""
    try:
        (data_dir / PREVIOUS_FILE).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"{data_dir / PREVIOUS_FILE} cannot be removed: {error.strerror}") from None
    return True


def weakness(key: str) -> str | None:
    """Why a master key is refused, as the end of a sentence that begins "the master key"; `None` for a strong one."""
    if not key.startswith(PREFIX):
        return f"must start with {PREFIX!r}"
    if len(key) > MAX_KEY_LENGTH or not all(33 <= ord(character) <= 126 for character in key):
        return f"must have at most {MAX_KEY_LENGTH} characters, all visible ASCII"
    secret = _KNOWN_WORDS.sub("", key.removeprefix(PREFIX))
    return next((f"is weak: {reason}" for is_weak, reason in _WEAKNESSES if is_weak(secret)), None)


def generate() -> str:
    """`sk-` and 256 random bits in hex."""
    return PREFIX + secrets.token_hex(RANDOM_BYTES)


def _configured(reference: SecretRef) -> MasterKey:
    try:
        value = SecretResolver().resolve(reference)
    except SecretUnavailable as error:
        raise ConfigError(f"the master key is not available: {error}") from None
    _refuse_weak(value, f"(general_settings.master_key: {reference})")
    return MasterKey(value, _shell(reference))


def _kept(path: Path) -> MasterKey:
    content, exposed = private_files.read(path, MAX_KEY_LENGTH + 2)
    value = SecretStr(content.decode("ascii", "replace").strip())
    _refuse_weak(value, f"in {path}")
    warning = f"{path} could be read by others and is private again; consider a new master key" if exposed else ""
    return MasterKey(value, _cat(path), path, warning=warning)


def _made(path: Path) -> MasterKey:
    key = generate()
    try:
        private_files.create(path, key.encode() + b"\n")
    except OSError as error:
        raise ConfigError(f"the master key cannot be kept in {path}: {error.strerror}") from None
    return MasterKey(SecretStr(key), _cat(path), path, created=True)


def _refuse_weak(value: SecretStr, where: str) -> None:
    reason = weakness(value.get_secret_value())
    if reason is not None:
        advice = f"make one with: python3 -c 'import secrets; print(\"{PREFIX}\" + secrets.token_hex(32))'"
        raise ConfigError(f"the master key {where} {reason}; {advice}")


def _shell(reference: SecretRef) -> str:
    match reference.scheme:
        case "env":
            return f"${reference.location}"
        case "file":
            return _cat(Path(reference.location))
        case _:
            return "$MASTER_KEY"


def _cat(path: Path) -> str:
    return f"$(cat {shlex.quote(str(path))})"


def _repeats(secret: str) -> bool:
    """Whether the text is one piece of at most half its length, over and over."""
    return secret in (secret + secret)[1:-1]


def _runs(secret: str) -> bool:
    """Whether most neighbours are equal or follow each other in the alphabet, up or down."""
    near = sum(abs(ord(first) - ord(second)) <= 1 for first, second in pairwise(secret))
    return near * 2 >= len(secret)


#: What makes the part that remains without known words weak, and how it is said.
_WEAKNESSES: tuple[tuple[Callable[[str], bool], str], ...] = (
    (
        lambda secret: len(secret) < MIN_CHARACTERS,
        f"fewer than {MIN_CHARACTERS} characters are left of it without {PREFIX!r} and well-known words",
    ),
    (lambda secret: len(set(secret)) < MIN_DIFFERENT, f"it has fewer than {MIN_DIFFERENT} different characters"),
    (_repeats, "it repeats itself"),
    (_runs, "most of it is a run of neighbouring characters"),
)
