"""For whom a request is made, as a header says it (`user_header_mappings`): an application's own name for its user.

As in LiteLLM a header comes before what the body says, and of several mapped headers the first of the list that is
there counts. A header that is there twice is refused: whoever can add one in front of us must not be able to decide
which of two end users pays. No mapped header reaches a provider (`hygiene`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from extproc.events import Header
from extproc.policy import refusals
from extproc.policy.credentials import CREDENTIAL_HEADERS
from extproc.policy.refusals import Refusal

#: Of an end user's name, as in a body.
MAX_LENGTH = 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]{1,128}", re.ASCII)
#: What means something else already, or never reaches the processor.
_TAKEN = CREDENTIAL_HEADERS | {
    b"accept", b"accept-encoding", b"connection", b"content-encoding", b"content-length", b"content-type", b"cookie",
    b"date", b"expect", b"forwarded", b"host", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"user-agent", b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-litellm-tags", b"x-request-id",
}  # fmt: skip
_TAKEN_PREFIXES = ("x-extproc-", "x-envoy-")


def may_be_mapped(name: str) -> bool:
    """Whether a header of this (lower-case) name may say who the end user is."""
    return _TOKEN.fullmatch(name) is not None and name.encode() not in _TAKEN and not name.startswith(_TAKEN_PREFIXES)


def named(headers: Iterable[Header], mapped: tuple[bytes, ...]) -> str | None:
    """The end user that the first of these headers names; an empty one names nobody."""
    if not mapped:
        return None
    found = {name: value.strip() for name, value in headers if name in mapped}
    value = next((found[name] for name in mapped if found.get(name)), b"")
    return value.decode("utf-8", "replace") or None


def check(headers: Iterable[Header], mapped: tuple[bytes, ...]) -> Refusal | None:
    """Refuse a header that is there twice, one that is too long, and one that is no text."""
    seen = set()
    for name, value in headers if mapped else ():
        if name not in mapped:
            continue
        if name in seen or len(value) > MAX_LENGTH or not _is_text(value):
            return refusals.malformed_header(name.decode())
        seen.add(name)
    return None


def _is_text(value: bytes) -> bool:
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False
