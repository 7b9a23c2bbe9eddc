"""What one login is asked with and recognized by. Here is nothing of the extra that verifying needs."""

from __future__ import annotations

import base64
import hashlib

import msgspec


class Question(msgspec.Struct, frozen=True):
    """`state` and `nonce` come back, by the browser and in the ID token; `verifier` goes to the provider only."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str

    def __repr__(self) -> str:
        return "Question(***)"


def challenge(verifier: str) -> str:
    """RFC 7636 §4.2, `S256`."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
