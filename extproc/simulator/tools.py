"""Calls of tools: one is called only where `tool_choice` says that it must be, with made-up values of the types that
its schema requires. A text is what the user wrote: so one sees what becomes of it on its way there and back."""

from __future__ import annotations

import json
from typing import Any

_MADE_UP: dict[str, Any] = {
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "object": {},
}


def arguments(schema: dict[str, Any] | None, question: str) -> str:
    """JSON with each property that a schema requires."""
    schema, made_up = schema or {}, _MADE_UP | {"string": question or "simulated"}
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    return json.dumps({name: made_up.get(str((properties.get(name) or {}).get("type"))) for name in required})
