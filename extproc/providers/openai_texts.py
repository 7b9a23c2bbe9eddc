"""Where OpenAI's three APIs have texts, in requests, in answers and in streams.

Source: OpenAI's API reference for chat completions, completions and embeddings; the fields that other providers add
(`reasoning_content`, `reasoning`). `logprobs` are left out of answers: they spell the answer token by token, and no
token can be searched by itself.
"""

from __future__ import annotations

from typing import Any

from extproc.errors import UnknownShape
from extproc.providers.texts import (
    DROP,
    FREE,
    JSON,
    KEEP,
    TEXT,
    TOKENS,
    Channel,
    Channels,
    Fields,
    Media,
    Parts,
    Spec,
    field,
    walk,
)

#: A text, or the parts of one (Mistral).
_THOUGHT = Parts({"text": Fields({"type": KEEP, "text": TEXT})})
_CONTENT = Parts(
    {
        "text": Fields({"type": KEEP, "text": TEXT}),
        "input_text": Fields({"type": KEEP, "text": TEXT}),
        "output_text": Fields({"type": KEEP, "text": TEXT}),
        "refusal": Fields({"type": KEEP, "refusal": TEXT}),
        "thinking": Fields({"type": KEEP, "thinking": _THOUGHT, "signature": KEEP}),
        "image_url": Media("image"),
        "input_audio": Media("audio"),
        "file": Media("file"),
        "video_url": Media("video"),
    }
)
_FUNCTION = Fields({"name": TEXT, "arguments": JSON})
_CALL = Fields({"id": KEEP, "type": KEEP, "index": KEEP, "function": _FUNCTION})
_MESSAGE = Fields(
    {
        "role": KEEP,
        "content": _CONTENT,
        "name": TEXT,
        "tool_calls": _CALL,
        "function_call": _FUNCTION,
        "tool_call_id": KEEP,
    }
)
_DEFINITION = Fields({"name": TEXT, "description": TEXT, "strict": KEEP})

CHAT_REQUEST: dict[str, Spec] = {
    "model": KEEP,
    "messages": _MESSAGE,
    "tools": Fields({"type": KEEP, "function": _DEFINITION}),
    "functions": _DEFINITION,
    "prediction": Fields({"type": KEEP, "content": _CONTENT}),
    "modalities": KEEP,
    "stop": TEXT,
}
COMPLETION_REQUEST: dict[str, Spec] = {"model": KEEP, "prompt": TOKENS, "suffix": TEXT, "stop": TEXT}
EMBEDDING_REQUEST: dict[str, Spec] = {"model": KEEP, "input": TOKENS, "encoding_format": KEEP}

_NAMES: dict[str, Spec] = {
    "id": KEEP, "object": KEEP, "model": KEEP, "system_fingerprint": KEEP, "service_tier": KEEP, "usage": KEEP,
}  # fmt: skip
_AUDIO = Fields({"id": KEEP, "data": Media("audio"), "transcript": TEXT})
_ANSWER = Fields({"role": KEEP, "content": _CONTENT, "tool_calls": _CALL, "function_call": _FUNCTION, "audio": _AUDIO})
ANSWER: Spec = Fields(
    {**_NAMES, "choices": Fields({"finish_reason": KEEP, "message": _ANSWER, "text": TEXT, "logprobs": DROP})}
)
EMBEDDINGS: Spec = Fields({**_NAMES, "data": Fields({"object": KEEP, "embedding": KEEP})})
#: What an event has beside its choices; `obfuscation` is padding that hides how long a token is.
_ERROR = Fields({"type": KEEP, "code": KEEP, "param": KEEP, "message": TEXT})
_EVENT: dict[str, Spec] = {**_NAMES, "obfuscation": KEEP}
_CHOICE: dict[str, Spec] = {"finish_reason": KEEP, "logprobs": DROP, "message": _ANSWER}
#: No index is larger.
_MOST = 1_000_000
#: What of a delta is no text that comes in pieces.
_WHOLE: dict[str, Spec] = {"role": KEEP}
#: In which field a part of a content has its text (Mistral's come in pieces), and a detail of what was thought
#: (OpenRouter's).
IN_PARTS = {"text": "text", "output_text": "text", "refusal": "refusal", "thinking": "thinking"}
_IN_DETAILS = ("text", "summary")
_DETAIL = Fields({"type": KEEP, "id": KEEP, "format": KEEP, "index": KEEP})
_CALLED = ("function", "custom")
_CALLING: dict[str, Spec] = {"id": KEEP, "type": KEEP, **dict.fromkeys(_CALLED, KEEP)}
_LISTS = ("content", "tool_calls", "reasoning_details")


class OpenAiStream:
    """The chunks of a chat completion or a completion.

    What a channel still holds goes out with the chunk that ends its choice, at the latest with one of our own.
    """

    def __init__(self, channels: Channels) -> None:
        self._channels = channels
        self._names: dict[str, Any] = {}

    def rewrite(self, event: Any) -> list[Any]:
        if not isinstance(event, dict):
            raise UnknownShape("an event that is no object")
        rewritten = {
            field(name, _EVENT, self._channels): walk(value, _beside(name, value), self._channels)
            for name, value in event.items()
            if name != "choices"
        }
        self._names = {name: rewritten[name] for name in ("id", "object", "created", "model") if name in rewritten}
        if isinstance(choices := event.get("choices"), list):
            rewritten["choices"] = [self._choice(choice) for choice in choices]
        elif choices is not None:
            raise UnknownShape("choices that are no list")
        elif "choices" in event:
            rewritten["choices"] = None
        return [rewritten]

    def remaining(self) -> list[Any]:
        rest: dict[object, dict[str, Any]] = {}
        for channel, text in self._channels.flush():
            _put(rest.setdefault(channel[0], {"index": channel[0], "finish_reason": None}), channel, text)
        return [{**self._names, "choices": list(rest.values())}] if rest else []

    def _choice(self, choice: Any) -> dict[str, Any]:
        if not isinstance(choice, dict):
            raise UnknownShape("a choice that is no object")
        index = _index(choice, 0)
        rewritten: dict[str, Any] = {}
        for name, value in choice.items():
            if name == "delta":
                rewritten[name] = self._delta(index, value)
            elif name == "text" and isinstance(value, str):
                rewritten[name] = self._channels.feed((index,), value)
            else:
                rewritten[field(name, _CHOICE, self._channels)] = walk(value, _CHOICE.get(name, FREE), self._channels)
        if choice.get("finish_reason"):
            for channel, text in self._channels.flush(index):
                _put(rewritten, channel, text)
        return rewritten

    def _delta(self, index: object, delta: Any) -> Any:
        """Every text of a delta is a piece of a channel, whatever its name."""
        if delta is None:
            return None
        if not isinstance(delta, dict):
            raise UnknownShape("a delta that is no object")
        named = [(field(name, _WHOLE, self._channels), value) for name, value in delta.items()]
        return {name: self._piece((index, name), name, value) for name, value in named}

    def _piece(self, channel: Channel, name: str, value: Any) -> Any:
        if isinstance(value, str) and name not in _WHOLE:
            return self._channels.feed(channel, value)
        if name in _LISTS and isinstance(value, list):
            return self._list(channel, name, value)
        if name == "function_call" and isinstance(value, dict):
            return self._function(channel, value)
        if name == "audio" and isinstance(value, dict):
            return self._audio(channel, value)
        return walk(value, _CONTENT if name == "content" else _WHOLE.get(name, FREE), self._channels)

    def _list(self, channel: Channel, name: str, told: list[Any]) -> list[Any]:
        if name == "content":
            return [self._part(channel, part) for part in told]
        entry = self._call if name == "tool_calls" else self._detail
        return [entry((*channel, _place(each, place)), each) for place, each in enumerate(told)]

    def _part(self, channel: Channel, part: Any) -> Any:
        """A part of a content: the pieces of all parts of a type are one text."""
        kind = part.get("type") if isinstance(part, dict) else None
        name = IN_PARTS.get(kind) if isinstance(kind, str) else None
        if isinstance(part, str):
            return self._channels.feed((*channel, "text"), part)
        (rewritten,) = walk([part if name is None else {**part, name: None}], _CONTENT, self._channels)
        if name is None or part.get(name) is None:
            return rewritten
        return {**rewritten, name: self._piece_of_part((*channel, kind), part[name])}

    def _piece_of_part(self, channel: Channel, piece: Any) -> Any:
        if isinstance(piece, str):
            return self._channels.feed(channel, piece)
        if not isinstance(piece, list) or channel[-1] != "thinking":
            raise UnknownShape("a part without a text")
        return [self._part(channel, each) for each in piece]

    def _detail(self, channel: Channel, detail: Any) -> Any:
        """A detail of what was thought, by its index, or its place."""
        if not isinstance(detail, dict):
            return walk([detail], FREE, self._channels)[0]
        pieces = {name: text for name in _IN_DETAILS if isinstance(text := detail.get(name), str)}
        rewritten = walk({**detail, **dict.fromkeys(pieces)}, _DETAIL, self._channels)
        return {**rewritten, **{name: self._channels.feed((*channel, name), text) for name, text in pieces.items()}}

    def _call(self, channel: Channel, call: Any) -> Any:
        if not isinstance(call, dict):
            raise UnknownShape("a tool call that is no object")
        rewritten = {}
        for name, value in call.items():
            if name in _CALLED and isinstance(value, dict):
                rewritten[name] = self._function((*channel, name), value)
            else:
                rewritten[field(name, _CALLING, self._channels)] = walk(value, _CALLING.get(name, FREE), self._channels)
        return rewritten

    def _function(self, channel: Channel, function: dict[str, Any]) -> dict[str, Any]:
        rewritten = {}
        for name, value in function.items():
            if name in {"arguments", "input"} and isinstance(value, str):
                rewritten[name] = self._channels.feed((*channel, name), value, json=name == "arguments")
            else:
                spec = TEXT if name == "name" else FREE
                rewritten[field(name, {}, self._channels)] = walk(value, spec, self._channels)
        return rewritten

    def _audio(self, channel: Channel, audio: dict[str, Any]) -> dict[str, Any]:
        rewritten = walk({name: value for name, value in audio.items() if name != "transcript"}, _AUDIO, self._channels)
        if isinstance(transcript := audio.get("transcript"), str):
            rewritten["transcript"] = self._channels.feed((*channel, "transcript"), transcript)
        return dict(rewritten)


def _place(call: Any, place: int) -> int:
    return _index(call, place) if isinstance(call, dict) else place


def _index(told: dict[str, Any], place: int) -> int:
    """Which choice or tool call this is; where it does not say, its place. Raises `UnknownShape`."""
    index = told.get("index")
    if index is None:
        return place
    if type(index) is not int or not 0 <= index <= _MOST:
        raise UnknownShape("an index that is none")
    return index


def _beside(name: str, value: Any) -> Spec:
    """What stands beside the choices. An error may also be a text or a number."""
    return _ERROR if name == "error" and isinstance(value, dict) else _EVENT.get(name, FREE)


def _put(choice: dict[str, Any], channel: Channel, text: str) -> None:
    """Append a text to the place in a chunk's choice that its channel names."""
    names: list[Any] = [*channel[1:]]
    if not names:
        choice["text"] = (choice.get("text") or "") + text
        return
    if choice.get("delta") is None:
        choice["delta"] = {}
    at = choice["delta"]
    if names[0] == "content" and (len(names) > 1 or isinstance(at.get("content"), list)):
        at["content"] = [*_parts_of(at.get("content")), _part_of(names[1:] or ["text"], text)]
        return
    if names[0] in _LISTS and len(names) > 1:
        at = _entry_of(at, names[0], names[1])
        names = names[2:]
        if names[0] in _IN_DETAILS:
            at.setdefault("type", f"reasoning.{names[0]}")
    for name in names[:-1]:
        # Many providers spell out what a delta has nothing of.
        if at.get(name) is None:
            at[name] = {}
        at = at[name]
    at[names[-1]] = (at.get(names[-1]) or "") + text


def _parts_of(content: Any) -> list[Any]:
    """A content as parts."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content or []


def _part_of(kinds: list[str], text: str) -> Any:
    """A new part of a content, in others where it stands in those."""
    kind, *inner = kinds
    return {"type": kind, IN_PARTS[kind]: [_part_of(inner, text)] if inner else text}


def _entry_of(delta: dict[str, Any], name: str, index: Any) -> dict[str, Any]:
    """The entry of a tool call, or of a detail, in a delta, a new one where there is none."""
    if not isinstance(delta.get(name), list):
        delta[name] = []
    entries: list[dict[str, Any]] = delta[name]
    for place, entry in enumerate(entries):
        if _place(entry, place) == index:
            return entry
    entries.append({"index": index})
    return entries[-1]
