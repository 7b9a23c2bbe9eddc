"""YAML that remembers where everything stood, so that an error can name file, line and column.

Strategy: PyYAML composes nodes and does not construct anything; the tree is built here, from nodes, with the place of
every key and value beside it. That refuses what PyYAML would let pass (a duplicate key silently wins, a tag may call
code), keeps numbers with a fraction exact (`Decimal`, not `float`: they are prices), and bounds what an alias may grow
to. The dialect is YAML 1.1 as LiteLLM reads it: merge keys work, `yes` and `on` are booleans.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import yaml
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from extproc.errors import ConfigError

MAX_FILE_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32
#: Values in all, aliases counted as often as they are used.
MAX_VALUES = 100_000

Place: TypeAlias = "tuple[str | int, ...]"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in a file, counted from 1."""

    line: int
    column: int


class Document(msgspec.Struct, frozen=True):
    """What a file says, and where it says it. `keys` and `values` are by the path from the top."""

    file: str
    root: Any
    keys: dict[Place, Position]
    values: dict[Place, Position]

    def at_value(self, path: Place) -> str:
        """`FILE:LINE:COLUMN` of a value, or of the nearest thing around it that is there."""
        return self._at(self.values, path)

    def at_key(self, path: Place) -> str:
        """`FILE:LINE:COLUMN` of the name of a value; of the value itself where it has no name."""
        return self._at(self.keys if path in self.keys else self.values, path)

    def _at(self, positions: dict[Place, Position], path: Place) -> str:
        while path and path not in positions:
            path = path[:-1]
        found = positions.get(path) or Position(1, 1)
        return f"{self.file}:{found.line}:{found.column}"


def read(path: Path) -> Document:
    """The document of a file. Raises `ConfigError` naming the place of the first thing that cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be read: {error.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: the configuration is larger than {MAX_FILE_BYTES} bytes")
    return parse(content, str(path))


def parse(content: bytes, file: str) -> Document:
    """The document of some bytes; `file` is what messages call them. An empty one is an empty mapping."""
    try:
        root = yaml.compose(content.decode("utf-8-sig"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: the configuration is not UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise ConfigError(f"{file}: nested deeper than {MAX_DEPTH} levels") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{file}:{_mark(error)}: {_words(error)}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: not YAML: {str(error).splitlines()[0]}") from None
    builder = _Builder(file)
    built = {} if root is None else builder.build(root, ())
    return Document(file, {} if built is None else built, builder.keys, builder.values)


class _Builder:
    """Turns nodes into values, once each time they are used."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._scalars = SafeConstructor()
        self._left = MAX_VALUES
        self.keys: dict[Place, Position] = {}
        self.values: dict[Place, Position] = {}

    def build(self, node: Node, path: Place) -> Any:
        self._left -= 1
        if self._left < 0:
            raise self._error(node, f"more than {MAX_VALUES} values")
        if len(path) > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH} levels")
        self.values[path] = _position(node)
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: MappingNode, path: Place) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key, value in self._pairs(node, len(path)):
            name = self._name(key)
            self.keys[*path, name] = _position(key)
            built[name] = self.build(value, (*path, name))
        return built

    def _pairs(self, node: MappingNode, depth: int) -> Iterator[tuple[Node, Node]]:
        """The mapping's own pairs, then what it merges in and does not say itself (https://yaml.org/type/merge.html)."""
        if depth > MAX_DEPTH:
            raise self._error(node, f"nested deeper than {MAX_DEPTH} levels")
        seen: set[str] = set()
        merged: list[Node] = []
        for key, value in node.value:
            if key.tag == _MERGE:
                merged.extend(value.value if isinstance(value, SequenceNode) else [value])
                continue
            name = self._name(key)
            if name in seen:
                raise self._error(key, f"{name!r} is given twice")
            seen.add(name)
            yield key, value
        for source in merged:
            if not isinstance(source, MappingNode):
                raise self._error(source, "only mappings can be merged with <<")
            for key, value in self._pairs(source, depth + 1):
                if (name := self._name(key)) not in seen:
                    seen.add(name)
                    yield key, value

    def _name(self, node: Node) -> str:
        self._left -= 1
        if self._left < 0:
            raise self._error(node, f"more than {MAX_VALUES} values")
        if not isinstance(node, ScalarNode):
            raise self._error(node, "a name must be a text")
        return str(node.value)

    def _scalar(self, node: Node) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind in {"str", "timestamp"}:
            return str(node.value)
        if kind == "float":
            return self._fraction(node)
        if kind not in {"int", "bool", "null"}:
            raise self._error(node, f"the tag {node.tag} is not supported")
        try:
            return self._scalars.construct_object(node)
        except (ConstructorError, ValueError, KeyError):
            raise self._error(node, f"not a valid {kind}") from None

    def _fraction(self, node: Node) -> Decimal:
        text = str(node.value).replace("_", "").lower()
        try:
            return Decimal(text.replace(".inf", "inf").replace(".nan", "nan"))
        except ArithmeticError:
            raise self._error(node, "not a number") from None

    def _error(self, node: Node, reason: str) -> ConfigError:
        place = _position(node)
        return ConfigError(f"{self._file}:{place.line}:{place.column}: {reason}")


def _position(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _mark(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"


def _words(error: yaml.MarkedYAMLError) -> str:
    """What PyYAML says, without the snippet that it would show: that may hold a secret."""
    return " ".join(part for part in (error.context, error.problem) if part)
