"""The answer that the chunks of an OpenAI stream amount to, in the shape of one that is not streamed.

Strings of a delta are pieces of one text, but for those that are told once (a role, an id); objects are merged; lists
of objects with an `index` by that, other lists are joined. Calls of tools and details of what was thought have their
place where they have no index, and of a content the pieces of all parts of a type are one text, as `openai_texts.py`
reads them: what was one value must not be stored in two pieces. `logprobs` are left out, as they are from answers.
"""

from __future__ import annotations

from typing import Any

from extproc.providers.openai_texts import IN_PARTS

#: No stream has more choices, or tool calls in one; what comes beyond is left out.
MOST = 1_000
_TOLD_ONCE = frozenset({"role", "id", "type", "index", "finish_reason", "object"})
_LEFT_OUT = frozenset({"logprobs", "obfuscation"})
_PARTS = frozenset({"content", "thinking"})
_PLACED = frozenset({"tool_calls", "reasoning_details"})


class OpenAiAnswer:
    """`Assembled`: feed it the decoded data of each event."""

    def __init__(self) -> None:
        self._beside: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def feed(self, event: Any) -> None:
        if not isinstance(event, dict):
            return
        self._beside |= {name: value for name, value in event.items() if value is not None and name not in _LEFT_OUT}
        choices = self._beside.pop("choices", None)
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._take(choice)

    def answer(self) -> dict[str, Any]:
        """Pieces are joined: each by itself takes far more memory than its characters."""
        choices = [_joined(choice) for _, choice in sorted(self._choices.items())]
        if isinstance(kind := self._beside.get("object"), str):
            self._beside["object"] = kind.removesuffix(".chunk")
        return {**self._beside, "choices": choices} if choices else self._beside

    def _take(self, choice: dict[str, Any]) -> None:
        known = _at(self._choices, choice.get("index"))
        if known is not None:
            _grow(known, {"message" if name == "delta" else name: value for name, value in choice.items()})


class _Pieces(list[str]):
    """A text that grows."""


class _Numbered(dict[int, dict[str, Any]]):
    """Objects by their `index`."""


class _Parts(dict[object, Any]):
    """The parts of a content: texts by their type, all else by its place."""


def _at(numbered: dict[int, dict[str, Any]], index: object) -> dict[str, Any] | None:
    number = index if isinstance(index, int) else 0
    return None if number not in numbered and len(numbered) >= MOST else numbered.setdefault(number, {})


def _grow(known: dict[str, Any], piece: dict[str, Any]) -> None:
    for name, value in piece.items():
        if value is None or name in _LEFT_OUT:
            continue
        if name in _TOLD_ONCE or not isinstance(value, str | dict | list):
            known[name] = value
        elif isinstance(value, list) or type(known.get(name)) is _Parts:
            _grow_list(known, name, value if isinstance(value, list) else [value])
        elif isinstance(value, str):
            _in(known, name, _Pieces).append(value)
        else:
            _grow(_in(known, name, dict), value)


def _grow_list(known: dict[str, Any], name: str, value: list[Any]) -> None:
    if name in _PARTS:
        _grow_parts(known, name, value)
    elif name in _PLACED or all(isinstance(each, dict) and "index" in each for each in value):
        numbered = _in(known, name, _Numbered)
        for place, each in enumerate(value):
            if isinstance(each, dict) and (same := _at(numbered, _number(each, place))) is not None:
                _grow(same, each)
    else:
        _in(known, name, list).extend(value)


def _grow_parts(known: dict[str, Any], name: str, value: list[Any]) -> None:
    begun = known.get(name)
    parts = _in(known, name, _Parts)
    for each in [*begun, *value] if type(begun) is _Pieces else value:
        part = {"type": "text", "text": each} if isinstance(each, str) else each
        kind = part.get("type") if isinstance(part, dict) else None
        if isinstance(kind, str) and kind in IN_PARTS:
            _grow(parts.setdefault(kind, {}), part)
        else:
            parts[len(parts)] = part


def _number(told: dict[str, Any], place: int) -> object:
    index = told.get("index")
    return place if index is None else index


def _in(known: dict[str, Any], name: str, kind: type[Any]) -> Any:
    """What grows under this name; anew where it was something else."""
    if type(known.get(name)) is not kind:
        known[name] = kind()
    return known[name]


def _joined(value: Any) -> Any:
    if isinstance(value, _Pieces):
        value[:] = ["".join(value)]
        return value[0]
    if isinstance(value, _Numbered):
        return [_joined(each) for _, each in sorted(value.items())]
    if isinstance(value, _Parts):
        return [_joined(each) for each in value.values()]
    return {name: _joined(each) for name, each in value.items()} if isinstance(value, dict) else value
