"""upb message classes derived from envoy-data-plane's dataclasses (betterproto2's field metadata).

Strategy: walk the dataclasses from the given roots, write down a `FileDescriptorProto` with the same numbers, types,
oneofs and maps, load it into a private pool under a private package (so nothing can clash with another library's copy
of Envoy's protos), and let protobuf make the classes. Takes a few milliseconds, once. A property test holds both
codecs equal.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterator
from typing import Any

import betterproto2
from google.protobuf import any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "extproc.wire"
_WELL_KNOWN = (any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
_GOOGLE = {name for module in _WELL_KNOWN for name in module.DESCRIPTOR.message_types_by_name}


def derive(*roots: type[betterproto2.Message]) -> list[type[Message]]:
    """One upb class per root, in order, with everything the roots refer to."""
    file = FileDescriptorProto(name=f"{PACKAGE}.proto", package=PACKAGE, syntax="proto3")
    file.dependency.extend(module.DESCRIPTOR.name for module in _WELL_KNOWN)
    names = _Derivation(file).names_of(roots)
    pool = DescriptorPool()
    for module in _WELL_KNOWN:
        copy = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(copy)
        pool.Add(copy)
    pool.Add(file)
    return [GetMessageClass(pool.FindMessageTypeByName(name.removeprefix("."))) for name in names]


class _Derivation:
    """Writes each dataclass and enum into the file once, in the order in which they are met."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._names: dict[type, str] = {}

    def names_of(self, types: tuple[type, ...]) -> list[str]:
        return [self._name_of(kind) for kind in types]

    def _name_of(self, kind: type) -> str:
        if kind.__name__ in _GOOGLE and ".google.protobuf" in kind.__module__:
            return f".google.protobuf.{kind.__name__}"
        if kind not in self._names:
            module = kind.__module__.partition("envoy_data_plane.")[2].replace(".", "_")
            self._names[kind] = f"{module}_{kind.__qualname__.replace('.', '_')}"
            self._write_enum(kind) if issubclass(kind, betterproto2.Enum) else self._write_message(kind)
        return f".{PACKAGE}.{self._names[kind]}"

    def _write_enum(self, kind: type[betterproto2.Enum]) -> None:
        enum = self._file.enum_type.add(name=self._names[kind])
        values = {int(member): name for name, member in kind.__members__.items()}
        values.setdefault(0, "UNSPECIFIED")  # proto3 wants a zero first
        for number in sorted(values, key=lambda value: (value != 0, value)):
            enum.value.add(name=f"{enum.name}_{values[number]}", number=number)

    def _write_message(self, kind: type) -> None:
        message = DescriptorProto(name=self._names[kind])
        # The place is taken before the fields are walked: messages refer to each other in circles.
        place = len(self._file.message_type)
        self._file.message_type.append(message)
        for name, meta, inner in _fields(kind):
            self._write_field(message, name, meta, inner)
        _write_optionals(message, kind)
        self._file.message_type[place].CopyFrom(message)

    def _write_field(self, message: DescriptorProto, name: str, meta: Any, inner: type) -> None:
        field = FieldDescriptorProto(name=name, number=meta.number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if meta.proto_type == "map":
            self._write_map(message, field, meta, inner)
        else:
            self._write_type(field, meta, inner)
        if meta.repeated:
            field.label = FieldDescriptorProto.LABEL_REPEATED
        elif meta.group:
            field.oneof_index = _oneof(message, meta.group)
        message.field.append(field)

    def _write_map(self, message: DescriptorProto, field: FieldDescriptorProto, meta: Any, inner: type) -> None:
        entry = message.nested_type.add(name="".join(part.capitalize() for part in field.name.split("_")) + "Entry")
        entry.options.map_entry = True
        key_meta, value_meta = meta.map_meta
        key = entry.field.add(name="key", number=1, label=FieldDescriptorProto.LABEL_OPTIONAL)
        self._write_type(key, key_meta, str)
        value = entry.field.add(name="value", number=2, label=FieldDescriptorProto.LABEL_OPTIONAL)
        self._write_type(value, value_meta, inner)
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{message.name}.{entry.name}"

    def _write_type(self, field: FieldDescriptorProto, meta: Any, inner: type) -> None:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{meta.proto_type.upper()}")
        if meta.proto_type in {"message", "enum"}:
            field.type_name = self._name_of(meta.unwrap() if meta.unwrap else inner)


def _fields(kind: type) -> Iterator[tuple[str, Any, type]]:
    """Name without Python's keyword underscore, betterproto2 metadata, and the type inside Optional, list or dict."""
    hints = typing.get_type_hints(kind, vars(sys.modules[kind.__module__]))
    for field in dataclasses.fields(kind):
        if (meta := field.metadata.get("betterproto")) is not None:
            yield field.name.rstrip("_"), meta, _inner(hints[field.name])


def _inner(hint: Any) -> type:
    arguments = [argument for argument in typing.get_args(hint) if argument is not type(None)]
    if not arguments:
        return typing.cast("type", hint)
    return _inner(arguments[1] if typing.get_origin(hint) is dict else arguments[0])


def _oneof(message: DescriptorProto, group: str) -> int:
    names = [declaration.name for declaration in message.oneof_decl]
    if group not in names:
        message.oneof_decl.add(name=group)
        return len(names)
    return names.index(group)


def _write_optionals(message: DescriptorProto, kind: type) -> None:
    """proto3 `optional` scalars are one-member oneofs, which must come after the real ones."""
    optional = {
        meta.number
        for _, meta, _ in _fields(kind)
        if meta.optional and not meta.group and not meta.repeated and meta.proto_type not in {"message", "map"}
    }
    for field in message.field:
        if field.number in optional:
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")
