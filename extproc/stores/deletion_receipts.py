"""Receipts of deletion: what was removed, when and by whom, signed with the key of the audit trail.

A receipt does not say who it was about. It holds a hash of the id under a salt of its own: whoever knows the id can
check that the receipt is theirs. The signature is an HMAC, so it is checked by whoever keeps the gateway's keys.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from extproc.stores.audit_chain import AuditKey
from extproc.stores.audit_values import text

KIND = "llm-extproc deletion receipt v1"
_SALT_BYTES = 16


class Subject(msgspec.Struct, frozen=True):
    """Somebody without a name: `hash` is an HMAC-SHA-256 of their id under `salt` (hex digits)."""

    salt: str
    hash: str

    @classmethod
    def of(cls, name: str, salt: str = "") -> Subject:
        salt = salt or os.urandom(_SALT_BYTES).hex()
        return cls(salt, hmac.new(bytes.fromhex(salt), name.encode(), hashlib.sha256).hexdigest())


def signed(content: Mapping[str, Any], sign: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    """The content with its kind, the id of the key, and the signature; those are empty where there is no key."""
    receipt = {"kind": KIND, **content}
    key_id, signature = sign(text(receipt))
    return {**receipt, "key_id": key_id, "signature": signature}


def is_genuine(receipt: Mapping[str, Any], keys: Iterable[AuditKey]) -> bool:
    """Whether one of these keys signed exactly this."""
    content = {name: value for name, value in receipt.items() if name not in {"key_id", "signature"}}
    signature = str(receipt.get("signature"))
    return content.get("kind") == KIND and any(
        key.id == receipt.get("key_id") and hmac.compare_digest(key.sign(text(content)), signature) for key in keys
    )


def is_about(receipt: Mapping[str, Any], name: str) -> bool:
    """Whether the receipt's subject has this id."""
    subject = msgspec.convert(receipt.get("subject"), Subject)
    return hmac.compare_digest(Subject.of(name, subject.salt).hash, subject.hash)
