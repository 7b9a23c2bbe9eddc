"""What the client sends to prove itself: exactly one API key, in one of the headers that SDKs use.

LiteLLM takes the first of several headers by precedence. Here a second credential, in another header or in a repeated
one, is a refusal: whoever can add a header in front of us must not be able to decide which of two keys counts.
A key is known by its digest only, the lower-case hex SHA-256 of the whole string, `sk-` included (LiteLLM's format).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

import msgspec

from extproc.events import Header
from extproc.model import MASTER_KEY_DIGEST, Key, Role
from extproc.policy import refusals
from extproc.policy.refusals import Refusal

#: Headers that may carry the client's credential. None of them ever reaches a provider.
CREDENTIAL_HEADERS = frozenset(
    {
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"x-litellm-api-key",
        b"x-goog-api-key",
        b"ocp-apim-subscription-key",
    }
)

_VISIBLE = bytes(range(33, 127))

#: LiteLLM's keys have 25 characters, ours 46; custom ones may be longer, but not a document.
MAX_KEY_LENGTH = 512

#: Whoever holds the master key is the administrator, for whom no row exists in any store.
MASTER_KEY = Key(digest=MASTER_KEY_DIGEST, name=MASTER_KEY_DIGEST, role=Role.PROXY_ADMIN, user_id="default_user_id")
#: The same administrator, by a master key that is on its way out: logs and records tell who still uses it.
PREVIOUS_MASTER_KEY = msgspec.structs.replace(MASTER_KEY, alias="previous master key")


class Credential(msgspec.Struct, frozen=True, gc=False):
    """A well-formed API key, known by its digest."""

    digest: str


def digest(api_key: str) -> str:
    """Lower-case hex SHA-256 of the whole key."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def masked(api_key: str) -> str:
    """`sk-...` and the last four characters; only `sk-...` for a key shorter than 16 characters (as LiteLLM)."""
    return f"sk-...{api_key[-4:]}" if len(api_key) >= 16 else "sk-..."


def prefix(headers: Iterable[Header]) -> str:
    """The first 7 characters of the one key that is sent, to tell wrong keys from another; `sk-...` for a short one, of
    which that would be too much, and nothing of what is no key: it may be another service's credential."""
    values = [value.rpartition(b" ")[2] for name, value in headers if name in CREDENTIAL_HEADERS]
    if len(values) != 1 or not values[0].startswith(b"sk-"):
        return ""
    return values[0][:7].decode("ascii", "replace") if len(values[0]) >= 24 else "sk-..."


def read(headers: Iterable[Header]) -> Credential | Refusal:
    """The one credential among lower-case raw headers, or why there is none."""
    found = [(name, value) for name, value in headers if name in CREDENTIAL_HEADERS]
    if not found:
        return refusals.NO_CREDENTIAL
    if len(found) > 1:
        return refusals.AMBIGUOUS_CREDENTIAL
    return _parse(*found[0])


def administrator(credential: Credential, master_digest: str, previous_digests: Sequence[str] = ()) -> Key | None:
    """The administrator, if this is the master key or one of the previous ones; all are compared, in constant time."""
    previous = [hmac.compare_digest(credential.digest, digest) for digest in previous_digests]
    if is_master(credential, master_digest):
        return MASTER_KEY
    return PREVIOUS_MASTER_KEY if any(previous) else None


def is_master(credential: Credential, master_digest: str) -> bool:
    """Whether this is the master key; compared in constant time."""
    return hmac.compare_digest(credential.digest, master_digest)


def _parse(name: bytes, value: bytes) -> Credential | Refusal:
    scheme, _, rest = value.partition(b" ")
    if scheme.lower() == b"bearer":
        value = rest.strip()
    elif name == b"authorization":
        return refusals.MALFORMED_CREDENTIAL
    if not value:
        return refusals.MALFORMED_CREDENTIAL
    # A visible-ASCII check also keeps control characters out of everything that is logged later.
    if len(value) > MAX_KEY_LENGTH or value.translate(None, _VISIBLE):
        return refusals.MALFORMED_CREDENTIAL
    api_key = value.decode("ascii")
    if not api_key.startswith("sk-"):
        return refusals.not_a_virtual_key(_foreign(api_key))
    return Credential(digest(api_key))


def _foreign(text: str) -> str:
    """How LiteLLM shows what is not its key; too little is shown of a short one to be of use."""
    return f"{text[:4]}****{text[-4:]}" if len(text) >= 16 else "****"
