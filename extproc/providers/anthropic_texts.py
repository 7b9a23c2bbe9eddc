"""Where Anthropic's Messages API has texts, in requests, in answers and in streams.

Source: Anthropic's API reference, "Create a Message" and "Streaming Messages". A signature or an encrypted part is the
provider's own and stays; a thought is a text like any other. The input of a tool is JSON: whole in a block, in pieces
of its spelling in a stream. A block, a delta or an event of a type that is not listed here is an error.
"""

from __future__ import annotations

from typing import Any

from extproc.errors import UnknownShape
from extproc.providers.texts import FREE, KEEP, TEXT, Channels, Fields, Media, Parts, Spec, walk

_MARKS: dict[str, Spec] = {"type": KEEP, "cache_control": KEEP}
_CITATION = Fields({"type": KEEP, "encrypted_index": KEEP, "file_id": KEEP})
_TEXT_BLOCK = Fields({**_MARKS, "text": TEXT, "citations": _CITATION})
_ASKED_FOR: dict[str, Spec] = {
    "text": _TEXT_BLOCK,
    "image": Media("image"),
    "document": Media("file"),
    "tool_reference": Fields({**_MARKS, "tool_name": TEXT}),
}
_FOUND = Fields({**_MARKS, "title": TEXT, "source": TEXT, "content": Parts({"text": _TEXT_BLOCK})})
_TOOL_CONTENT = Parts({**_ASKED_FOR, "search_result": _FOUND})
_CALLER = Fields({"type": KEEP, "tool_id": KEEP})
_CALL = Fields({**_MARKS, "id": KEEP, "name": TEXT, "server_name": TEXT, "input": FREE, "caller": _CALLER})


def _result(content: Spec) -> Spec:
    return Fields({**_MARKS, "tool_use_id": KEEP, "is_error": KEEP, "content": content, "caller": _CALLER})


_ROWS = Fields({"type": KEEP, "encrypted_content": KEEP, "encrypted_stdout": KEEP, "error_code": KEEP, "file_id": KEEP})
_PAGE = Fields({"type": KEEP, "error_code": KEEP, "content": Media("file")})
_BLOCKS = Parts(
    {
        **_ASKED_FOR,
        "search_result": _FOUND,
        "thinking": Fields({**_MARKS, "thinking": TEXT, "signature": KEEP}),
        "redacted_thinking": Fields({**_MARKS, "data": KEEP}),
        "tool_use": _CALL,
        "server_tool_use": _CALL,
        "mcp_tool_use": _CALL,
        "tool_result": _result(_TOOL_CONTENT),
        "mcp_tool_result": _result(_TOOL_CONTENT),
        "web_search_tool_result": _result(_ROWS),
        "web_fetch_tool_result": _result(_PAGE),
        "tool_search_tool_result": _result(_ROWS),
        "code_execution_tool_result": _result(_ROWS),
        "bash_code_execution_tool_result": _result(_ROWS),
        "text_editor_code_execution_tool_result": _result(_ROWS),
        "compaction": Fields({**_MARKS, "content": TEXT}),
        "container_upload": Media("file"),
    }
)

REQUEST: dict[str, Spec] = {
    "model": KEEP,
    "system": Parts({"text": _TEXT_BLOCK}),
    "messages": Fields({"role": KEEP, "content": _BLOCKS}),
    "tools": Fields({**_MARKS, "name": TEXT, "description": TEXT, "input_schema": FREE}),
    "tool_choice": Fields({"type": KEEP, "name": TEXT}),
    "thinking": Fields({"type": KEEP, "budget_tokens": KEEP, "display": KEEP}),
    "service_tier": KEEP,
    "stop_sequences": TEXT,
    "cache_control": KEEP,
}
_CONTAINER = Fields({"id": KEEP, "expires_at": KEEP})
_ERROR = Fields({"type": KEEP})
#: A message, or an error in its place.
ANSWER = Fields(
    {
        "id": KEEP,
        "type": KEEP,
        "role": KEEP,
        "model": KEEP,
        "content": _BLOCKS,
        "stop_reason": KEEP,
        "usage": KEEP,
        "container": _CONTAINER,
        "error": _ERROR,
        "request_id": KEEP,
    }
)
#: Events that hold no piece of a text.
_EVENTS: dict[str, Spec] = {
    "message_start": Fields({"type": KEEP, "message": ANSWER}),
    "message_delta": Fields(
        {"type": KEEP, "delta": Fields({"stop_reason": KEEP, "container": _CONTAINER}), "usage": KEEP}
    ),
    "message_stop": Fields({"type": KEEP}),
    "ping": Fields({"type": KEEP}),
    "error": Fields({"type": KEEP, "error": _ERROR, "request_id": KEEP}),
}
_STOP = Fields({"type": KEEP, "index": KEEP})
#: After these nothing more of a text can come.
_LAST = frozenset({"message_stop", "error"})
#: Deltas that are pieces of a text, and in which field; the others come whole.
_PIECES = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "input_json_delta": "partial_json",
    "compaction_delta": "content",
}
_TYPES = {field: kind for kind, field in _PIECES.items()}
_WHOLE: dict[str, Spec] = {
    "citations_delta": Fields({"type": KEEP, "citation": _CITATION}),
    "signature_delta": Fields({"type": KEEP, "signature": KEEP}),
}


class AnthropicStream:
    """The events of a message. What a block's channels still hold goes out as a delta before the block's stop."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    def rewrite(self, event: Any) -> list[Any]:
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "content_block_start":
            return [self._in_block(event, "content_block")]
        if kind == "content_block_delta":
            return [self._in_block(event, "delta")]
        if kind == "content_block_stop":
            return [*self._rest(_index(event)), walk(event, _STOP, self._channels)]
        if not isinstance(kind, str) or kind not in _EVENTS:
            raise UnknownShape("an event of an unknown type")
        rewritten = walk(event, _EVENTS[kind], self._channels)
        return [*self._rest(), rewritten] if kind in _LAST else [rewritten]

    def remaining(self) -> list[Any]:
        return self._rest()

    def _in_block(self, event: dict[str, Any], field: str) -> Any:
        """An event that begins a block or goes on with it; `field` is where it does."""
        told, index = event.get(field), _index(event)
        if not isinstance(told, dict):
            raise UnknownShape("a block that is no object")
        known = {"type": KEEP, "index": KEEP, field: KEEP}
        rewritten = walk({**event, field: None}, Fields(known), self._channels)
        rewritten[field] = self._begin(index, told) if field == "content_block" else self._go_on(index, told)
        return rewritten

    def _begin(self, index: int, block: dict[str, Any]) -> dict[str, Any]:
        """A new block. A text or a thought that it begins with is the first piece of what its deltas go on with."""
        (walked,) = walk([{**block, **dict.fromkeys(_begun(block), "")}], _BLOCKS, self._channels)
        return {**walked, **{name: self._channels.feed((index, name), block[name]) for name in _begun(block)}}

    def _go_on(self, index: int, delta: dict[str, Any]) -> dict[str, Any]:
        kind = str(delta.get("type"))
        if kind in _WHOLE:
            return dict(walk(delta, _WHOLE[kind], self._channels))
        name = _PIECES.get(kind)
        if name is None or not isinstance(piece := delta.get(name), str):
            raise UnknownShape("a delta of an unknown type")
        rewritten = walk({**delta, name: ""}, Fields({"type": KEEP, name: KEEP}), self._channels)
        return {**rewritten, name: self._channels.feed((index, name), piece, json=name == "partial_json")}

    def _rest(self, *block: object) -> list[Any]:
        """What channels still hold, of one block or of all, as deltas."""
        return [
            {"type": "content_block_delta", "index": index, "delta": {"type": _TYPES[str(name)], str(name): text}}
            for (index, name), text in self._channels.flush(*block)
        ]


def _index(event: dict[str, Any]) -> int:
    if not isinstance(index := event.get("index"), int):
        raise UnknownShape("a block without an index")
    return index


def _begun(block: dict[str, Any]) -> list[str]:
    """The fields of a new block that its deltas may go on with."""
    fields = {"text": ["text"], "thinking": ["thinking"], "compaction": ["content"]}
    return [name for name in fields.get(str(block.get("type")), []) if isinstance(block.get(name), str)]
