"""The message that the events of an Anthropic stream amount to, in the shape of one that is not streamed.

Source: Anthropic's API reference, "Streaming Messages".
"""

from __future__ import annotations

from typing import Any

import msgspec

#: No message has more blocks; what comes beyond is left out.
MOST = 1_000
#: By the type of a delta: where its text is, and the field of the block that it is a piece of.
_PIECES = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
    "compaction_delta": ("content", "content"),
}


class AnthropicAnswer:
    """`Assembled`: feed it the decoded data of each event."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, dict[str, list[str]]] = {}

    def feed(self, event: Any) -> None:
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "message_start":
            self._message |= _object(event, "message")
            self._usage |= _object(self._message, "usage")
        elif kind == "message_delta":
            self._usage |= _object(event, "usage")
            self._message |= _object(event, "delta")
        elif kind == "content_block_start":
            self._begin(event)
        elif kind == "content_block_delta":
            self._grow(event)

    def answer(self) -> dict[str, Any]:
        content = [self._block(index) for index in sorted(self._blocks)]
        usage = {"usage": self._usage} if self._usage else {}
        return {**self._message, **usage, "content": content} if self._message else {}

    def _begin(self, event: dict[str, Any]) -> None:
        index = event.get("index")
        if isinstance(index, int) and len(self._blocks) < MOST:
            block = self._blocks[index] = {**_object(event, "content_block")}
            begun = {name: block.get(name) for _, name in _PIECES.values()}
            self._texts[index] = {name: [text] for name, text in begun.items() if isinstance(text, str)}

    def _grow(self, event: dict[str, Any]) -> None:
        index, delta = event.get("index"), _object(event, "delta")
        if not isinstance(index, int) or index not in self._blocks:
            return
        if isinstance(citation := delta.get("citation"), dict):
            self._cite(self._blocks[index], citation)
        where, name = _PIECES.get(str(delta.get("type")), ("", ""))
        if isinstance(piece := delta.get(where), str):
            self._texts[index].setdefault(name, []).append(piece)

    @staticmethod
    def _cite(block: dict[str, Any], citation: dict[str, Any]) -> None:
        if not isinstance(block.get("citations"), list):
            block["citations"] = []
        block["citations"].append(citation)

    def _block(self, index: int) -> dict[str, Any]:
        for pieces in self._texts[index].values():
            # Each by itself takes far more memory than its characters.
            pieces[:] = ["".join(pieces)]
        texts = {name: pieces[0] for name, pieces in self._texts[index].items()}
        if "input" in texts:
            return {**self._blocks[index], **texts, "input": _decoded(texts["input"])}
        return {**self._blocks[index], **texts}


def _object(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _decoded(text: str) -> Any:
    """The input of a tool; as a text where it is no JSON, for it may have been cut."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
