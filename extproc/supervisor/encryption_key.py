"""The encryption key: from the configuration, from LiteLLM's `LITELLM_SALT_KEY`, or made once and kept beside the data.

Only the embedded database gets a key of its own making: with a shared one every machine would make another, and none
could read what the others wrote. There, without a configured key, no secret is stored.

The key is kept apart from the master key: whoever changes one need not change the other. A rotation keeps the key of
before in a second file, which only opens.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from extproc.encryption import MIN_CHARACTERS
from extproc.errors import ConfigError, SecretUnavailable
from extproc.model import SecretRef
from extproc.secrets import SecretResolver
from extproc.settings.model import Settings
from extproc.supervisor import private_files

FILE = "encryption_key"
PREVIOUS_FILE = "encryption_key.previous"
VARIABLE = "LITELLM_SALT_KEY"
_MOST_BYTES = 4096


def with_key(settings: Settings, data_dir: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings with the encryption key that counts; without one where there is none. Raises `ConfigError`."""
    if settings.encryption_key is not None:
        return _checked(settings, f"general_settings.encryption_key: {settings.encryption_key}")
    if environment.get(VARIABLE):
        return _checked(msgspec.structs.replace(settings, encryption_key=SecretRef("env", VARIABLE)), VARIABLE)
    if settings.database_url is not None:
        return settings
    _ensure(data_dir / FILE)
    kept = [SecretRef("file", str(data_dir / name)) for name in (FILE, PREVIOUS_FILE)]
    previous = (*settings.previous_encryption_keys, kept[1])
    return _checked(
        msgspec.structs.replace(settings, encryption_key=kept[0], previous_encryption_keys=previous),
        str(data_dir / FILE),
    )


def is_kept(settings: Settings, data_dir: Path) -> bool:
    """Whether the key is one of our making: then a rotation can make another."""
    return settings.encryption_key == SecretRef("file", str(data_dir / FILE))


def rotate(data_dir: Path) -> None:
    """Make a new key; the old one goes on opening. Raises `ConfigError`."""
    current = data_dir / FILE
    try:
        old, _ = private_files.read(current, _MOST_BYTES)
        private_files.write(data_dir / PREVIOUS_FILE, old)
        private_files.write(current, _new())
    except OSError as error:
        raise ConfigError(f"the encryption key {current} cannot be changed: {error.strerror}") from None


def _checked(settings: Settings, where: str) -> Settings:
    assert settings.encryption_key is not None
    try:
        value = SecretResolver().resolve(settings.encryption_key)
    except SecretUnavailable as error:
        raise ConfigError(f"the encryption key is not available: {error}") from None
    if len(value.get_secret_value()) < MIN_CHARACTERS:
        raise ConfigError(f"the encryption key ({where}) has fewer than {MIN_CHARACTERS} characters")
    return settings


def _ensure(path: Path) -> None:
    try:
        private_files.read(path, _MOST_BYTES)
    except FileNotFoundError:
        try:
            private_files.create(path, _new())
        except FileExistsError:
            # Another command made it at the same moment.
            return
        except OSError as error:
            raise ConfigError(f"the encryption key cannot be kept in {path}: {error.strerror}") from None
    except OSError as error:
        raise ConfigError(f"the encryption key {path} cannot be read: {error.strerror}") from None


def _new() -> bytes:
    return secrets.token_urlsafe(32).encode() + b"\n"
