"""Which gateway a command speaks to, and with which key.

In this order: `--url` and `--key`; the environment; a profile, the named one or the default one; the gateway that
`extproc up` runs on this machine, whose master key lies in its data directory. A profile names its key by reference
(`os.environ/NAME`, `file/PATH`) or holds it; then the file must be its owner's alone.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from extproc.errors import ConfigError, SecretUnavailable

#: Ours first, then those of LiteLLM's own command line.
URL_VARIABLES = ("EXTPROC_URL", "LITELLM_PROXY_URL")
KEY_VARIABLES = ("EXTPROC_API_KEY", "LITELLM_PROXY_API_KEY")
PROFILE_VARIABLE = "EXTPROC_PROFILE"
DEFAULT_PROFILE = "default"
LOCAL_URL = "http://127.0.0.1:4000"
_LARGEST_FILE = 64 * 1024
_REFERENCES = {"os.environ/": "env", "file/": "file"}
_HEAD = "# Gateways that `extproc keys`, `extproc spend` and so on speak to. `ca` is a PEM file to trust.\n"


class Profile(msgspec.Struct, frozen=True):
    """A gateway's base URL, the key for it, and the PEM file of the authority to trust beside the system's."""

    url: str
    key: str
    ca: str | None = None

    def __repr__(self) -> str:
        return f"Profile(url={self.url!r}, key='***', ca={self.ca!r})"


def chosen(
    url: str | None, key: str | None, name: str | None, data_dir: Path, environment: Mapping[str, str] = os.environ
) -> Profile:
    """The gateway to speak to. Raises `ConfigError` where there is none, or no key for it."""
    url = url or _first(environment, URL_VARIABLES)
    key = key or _first(environment, KEY_VARIABLES)
    name = name or environment.get(PROFILE_VARIABLE)
    kept: Mapping[str, Any] = {}
    if name is not None or not (url and key):
        kept = _profile(name, environment)
    local = data_dir / "master_key"
    if not (key or kept) and local.exists():
        key, url = _read_key(local), url or LOCAL_URL
    url, key = url or kept.get("url"), key or kept.get("key")
    if not url or not key:
        raise ConfigError(
            "no gateway to speak to: name it with --url and --key, with EXTPROC_URL and EXTPROC_API_KEY, or keep it "
            f"with `extproc profile set`; the key of `extproc up` is looked for in {local}"
        )
    return Profile(check_url(url), _resolved(key), kept.get("ca") or environment.get("SSL_CERT_FILE"))


def file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where profiles are kept (XDG Base Directory Specification)."""
    home = environment.get("XDG_CONFIG_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".config")
    return Path(home) / "llm-extproc" / "profiles.toml"


def read(environment: Mapping[str, str] = os.environ) -> dict[str, dict[str, Any]]:
    """All profiles, `{}` where none are kept. Raises `ConfigError`."""
    from extproc.supervisor import private_files

    path = file(environment)
    try:
        content, _ = private_files.read(path, _LARGEST_FILE)
        found = tomllib.loads(content.decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigError(f"{path} is not TOML") from None
    return {name: kept for name, kept in found.items() if isinstance(kept, dict)}


def write(profiles: Mapping[str, Mapping[str, str]], environment: Mapping[str, str] = os.environ) -> Path:
    """Keep these profiles, readable for their owner only."""
    from extproc.supervisor import private_files

    path = file(environment)
    private_files.directory(path.parent)
    sections = [
        f"[{_quoted(name)}]\n" + "".join(f"{field} = {_quoted(value)}\n" for field, value in kept.items() if value)
        for name, kept in profiles.items()
    ]
    private_files.write(path, (_HEAD + "\n" + "\n".join(sections)).encode())
    return path


def _profile(name: str | None, environment: Mapping[str, str]) -> Mapping[str, Any]:
    profiles = read(environment)
    if name is not None and name not in profiles:
        raise ConfigError(f"there is no profile {name!r} in {file(environment)}")
    return profiles.get(name or DEFAULT_PROFILE, {})


def _resolved(key: str) -> str:
    from extproc.model import SecretRef
    from extproc.secrets import SecretResolver

    for prefix, scheme in _REFERENCES.items():
        if key.startswith(prefix):
            try:
                return SecretResolver().resolve(SecretRef(scheme, key.removeprefix(prefix))).get_secret_value()
            except SecretUnavailable as error:
                raise ConfigError(str(error)) from None
    return key


def _read_key(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"the master key {path} cannot be read") from None


def absolute(path: str) -> str:
    """A path that is the same from everywhere: a profile is used from other folders. None stays none."""
    return str(Path(path).absolute()) if path else ""


def check_url(url: str) -> str:
    """The base URL, without a slash at its end. Raises `ConfigError` for what is none."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"a gateway's URL begins with https:// or http://, such as {LOCAL_URL}")
    if parts.username or parts.password:
        raise ConfigError("a gateway's URL holds no user and no password: the key goes into --key")
    return url.rstrip("/")


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def _quoted(text: str) -> str:
    """A basic string of TOML, which escapes as JSON does."""
    return msgspec.json.encode(text).decode()
