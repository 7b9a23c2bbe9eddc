"""The answer that the chunks of an OpenAI stream amount to, in the shape of one that is not streamed.

Strings of a delta are pieces of one text, but for those that are told once (a role, an id); objects are merged; lists
of objects with an `index` by that, other lists are joined. `logprobs` are left out, as they are from answers.
"""

from __future__ import annotations

from typing import Any

#: No stream has more choices, or tool calls in one; what comes beyond is left out.
MOST = 1_000
_TOLD_ONCE = frozenset({"role", "id", "type", "index", "finish_reason", "object"})
_LEFT_OUT = frozenset({"logprobs", "obfuscation"})


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


def _at(numbered: dict[int, dict[str, Any]], index: object) -> dict[str, Any] | None:
    number = index if isinstance(index, int) else 0
    return None if number not in numbered and len(numbered) >= MOST else numbered.setdefault(number, {})


def _grow(known: dict[str, Any], piece: dict[str, Any]) -> None:
    for name, value in piece.items():
        if value is None or name in _LEFT_OUT:
            continue
        if name in _TOLD_ONCE or not isinstance(value, str | dict | list):
            known[name] = value
        elif isinstance(value, str):
            _in(known, name, _Pieces).append(value)
        elif isinstance(value, dict):
            _grow(_in(known, name, dict), value)
        else:
            _grow_list(known, name, value)


def _grow_list(known: dict[str, Any], name: str, value: list[Any]) -> None:
    if not all(isinstance(each, dict) and "index" in each for each in value):
        _in(known, name, list).extend(value)
        return
    numbered = _in(known, name, _Numbered)
    for each in value:
        if (same := _at(numbered, each["index"])) is not None:
            _grow(same, each)


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
    return {name: _joined(each) for name, each in value.items()} if isinstance(value, dict) else value
