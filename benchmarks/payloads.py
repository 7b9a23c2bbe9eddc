"""The bytes on the wire, made once: requests of the clients, answers of the upstream.

One plain exchange is a prompt of 1 KiB and an answer of about 600 bytes. One stream is 100 chunks of about 250 bytes
as OpenAI sends them, then the chunk with `finish_reason`, the chunk with the usage, and `[DONE]`; the client does not
ask for usage, which is the common case and the dearer one for llm-extproc (it asks, and hides the answer).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MODEL = "gpt-4o"
CHUNKS = 100
PACE_HEADER = b"x-bench-pace-ms"
_ID = "chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz01"
_CREATED = 1_760_000_000
_USAGE = {
    "prompt_tokens": 214,
    "completion_tokens": CHUNKS,
    "total_tokens": 214 + CHUNKS,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
_SENTENCE = "The gateway reads what it must, decides once, and lets the answer of the provider pass as it comes. "


def request(authority: str, api_key: str, *, stream: bool, pace_ms: int = 0, more: Mapping[str, Any] = {}) -> bytes:
    """A chat completion as HTTP/1.1 bytes. `pace_ms` asks the upstream to wait that long between two chunks; `more` are
    further fields of the body."""
    document: dict[str, Any] = {
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": (_SENTENCE * 11)[:1024]},
        ],
        "temperature": 0.7,
        "max_tokens": 256,
        **more,
    }
    if stream:
        document["stream"] = True
    body = json.dumps(document).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {api_key}\r\n"
        f"content-type: application/json\r\naccept: application/json\r\nuser-agent: OpenAI/Python 2.0.0\r\n"
        f"{PACE_HEADER.decode()}: {pace_ms}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answer() -> bytes:
    """The whole plain response."""
    message: dict[str, Any] = {"role": "assistant", "content": _SENTENCE[:98], "refusal": None, "annotations": []}
    document = _envelope("chat.completion") | {
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _USAGE,
    }
    body = json.dumps(document, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def stream_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


def stream_chunks() -> tuple[bytes, ...]:
    """The stream's body: one HTTP chunk for each event, the one that ends the body last."""
    events = [_event([_choice({"content": f" word{index:04}"}, None)], None) for index in range(CHUNKS)]
    events += [_event([_choice({}, "stop")], None), _event([], _USAGE), b"data: [DONE]\n\n"]
    return (*(b"%x\r\n%b\r\n" % (len(event), event) for event in events), b"0\r\n\r\n")


def events() -> tuple[bytes, ...]:
    """The stream's events without HTTP's framing."""
    return tuple(chunk.partition(b"\r\n")[2][:-2] for chunk in stream_chunks()[:-1])


def _envelope(kind: str) -> dict[str, Any]:
    return {
        "id": _ID,
        "object": kind,
        "created": _CREATED,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_0123456789",
    }


def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
    document = _envelope("chat.completion.chunk") | {"choices": choices, "usage": usage}
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"
