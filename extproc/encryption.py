"""What is stored and must be read again: sealed with AES-256-GCM, and bound to the place where it is kept.

An envelope is `v1|KID|NONCE|CIPHERTEXT`, the last two in URL-safe base64. KID tells which key sealed it and nothing of
the key. The place (`table/row/column`) is authenticated with it: an envelope that is moved to another row is refused.
Keys are stretched from whatever text the operator keeps, so that a stolen database costs a search some time too.

A ring holds the key of now, which seals, and earlier ones, which only open. A rotation opens with any and seals with
the first. What cannot be opened is an error that names the place and never a value: there is no way around it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from extproc.errors import SecretUnavailable

VERSION = "v1"
NONCE_BYTES = 12
#: Fewer are no key but a word.
MIN_CHARACTERS = 16
#: scrypt's cost: 16 MiB and some 50 ms for each key, once for each process.
_COST, _BLOCKS = 2**14, 8
_SALT = b"llm-extproc encryption v1"
_KEY_BYTES, _KID_BYTES = 32, 6


class Keyring:
    """`texts` are the keys as the operator keeps them, the current one first. Raises `ValueError` for a short one."""

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts or any(len(text) < MIN_CHARACTERS for text in texts):
            raise ValueError(f"an encryption key has {MIN_CHARACTERS} or more characters")
        stretched = [_stretched(text) for text in texts]
        self._ciphers = {kid: AESGCM(key) for kid, key in reversed(stretched)}
        self.current = stretched[0][0]

    def __repr__(self) -> str:
        return f"Keyring({', '.join(reversed(self._ciphers))})"

    def seal(self, value: str, place: str) -> str:
        """The envelope of a value that is kept at this place."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.current].encrypt(nonce, value.encode(), _bound(self.current, place))
        return "|".join((VERSION, self.current, _text(nonce), _text(sealed)))

    def open(self, envelope: str, place: str) -> str:
        """The value of an envelope that was found at this place. Raises `SecretUnavailable`."""
        kid, nonce, sealed = _parts(envelope, place)
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise SecretUnavailable(f"{place} was encrypted with a key ({kid}) that is not configured")
        with contextlib.suppress(InvalidTag, ValueError):
            return cipher.decrypt(nonce, sealed, _bound(kid, place)).decode()
        # Raised outside of the handler: the error in hand may carry what was decrypted.
        raise SecretUnavailable(f"{place} was changed after it was encrypted, or belongs elsewhere")

    def is_current(self, envelope: str) -> bool:
        """Whether the key of now sealed it."""
        return envelope.startswith(f"{VERSION}|{self.current}|")


def key_id(envelope: str) -> str:
    """Which key sealed it; empty for what is no envelope."""
    version, _, rest = envelope.partition("|")
    return rest.partition("|")[0] if version == VERSION else ""


def _stretched(text: str) -> tuple[str, bytes]:
    """The key's id and the key: two parts of one derivation, of which the first tells nothing of the second."""
    length = _KID_BYTES + _KEY_BYTES
    derived = hashlib.scrypt(text.encode(), salt=_SALT, n=_COST, r=_BLOCKS, p=1, dklen=length)
    return derived[:_KID_BYTES].hex(), derived[_KID_BYTES:]


def _bound(kid: str, place: str) -> bytes:
    return f"{VERSION}|{kid}|{place}".encode()


def _parts(envelope: str, place: str) -> tuple[str, bytes, bytes]:
    version, *rest = envelope.split("|")
    if version == VERSION and len(rest) == 3:
        with contextlib.suppress(ValueError):
            return rest[0], _bytes(rest[1]), _bytes(rest[2])
    raise SecretUnavailable(f"{place} holds nothing that was encrypted here")


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
