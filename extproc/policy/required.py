"""Parameters that a request must have, as its key or its team demands (`enforced_params`, LiteLLM's name).

`user` must be there and not null; of `metadata.project` the object `metadata` must hold it too.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.model import Key
from extproc.policy import refusals
from extproc.policy.refusals import Refusal

_NULL = b"null"


def check(key: Key, document: Mapping[str, msgspec.Raw]) -> Refusal | None:
    """Refuse a body without a parameter that is demanded: the first one that is missing, in the order of the lists."""
    if not key.fields and (key.team is None or not key.team.metadata):
        return None
    for name in _demanded(key):
        if not _is_there(document, name):
            message = f"Please pass param={name} in the request body. It is required by your key or team."
            return refusals.malformed_body(message, name, 400)
    return None


def _demanded(key: Key) -> list[str]:
    lists = (key.fields.get("enforced_params"), key.team.metadata.get("enforced_params") if key.team else None)
    return [name for names in lists if isinstance(names, list) for name in names if isinstance(name, str)]


def _is_there(document: Mapping[str, msgspec.Raw], name: str) -> bool:
    first, *rest = name.split(".")
    raw = document.get(first)
    if raw is None or bytes(raw).strip() == _NULL:
        return False
    value: object = msgspec.json.decode(raw) if rest else True
    for step in rest:
        value = value.get(step) if isinstance(value, dict) else None
    return value is not None
