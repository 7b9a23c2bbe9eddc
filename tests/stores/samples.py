"""Keys and receipts for the tests of stores, each with an id of its own."""

from __future__ import annotations

import uuid
from typing import Any

from extproc.model import Key, Receipt, Usage

NOW = 1_763_900_000_000


def fresh(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex}"


def key(**fields: Any) -> Key:
    return Key(**{"digest": fresh("digest"), "name": "sk-...abcd", "created_at": NOW, "updated_at": NOW, **fields})


def receipt(**fields: Any) -> Receipt:
    plain = {
        "event_id": fresh("event"), "call_id": fresh("call"), "key_digest": "digest", "started_at": NOW,
        "ended_at": NOW + 5, "operation": "acompletion", "path": "/v1/chat/completions", "model_group": "gpt-4o",
        "model": "gpt-4o-2024-08-06", "model_id": "id", "provider": "openai", "api_base": "https://api.openai.com/v1",
        "http_status": 200, "status": "success", "stream": False, "usage": Usage(input_tokens=3, output_tokens=4),
        "spend": 7,
    }  # fmt: skip
    return Receipt(**{**plain, **fields})
