"""A JSON body as a document: its top level decoded, the values below it still raw bytes.

What is forwarded is `write(read(body))`, never the body itself. Of duplicate keys the last one wins, here and therefore
for the provider too, and names are spelled out: neither `{"model": "a", "model": "b"}` nor `"mod\\u0065l"` can show the
provider something else than was decided on. A large value is checked for syntax, copied, and never parsed.

Two checks are ours because msgspec does not make them for values it skips: that the body is UTF-8, and that it is
neither nested deeper nor made of more lists and objects than any consumer downstream should have to bear.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from extproc.errors import MalformedBody

#: Top-level name to raw JSON value; the same type as `providers.api.Document`, which stands a floor higher.
Document: TypeAlias = dict[str, msgspec.Raw]

MAX_DEPTH = 128
MAX_FIELDS = 256
#: Lists and objects in a body: a hundred thousand messages stay below it.
MAX_CONTAINERS = 250_000

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()

_EVERY_BYTE = set(range(256))
#: What may be dropped while escapes are still to be told: neither structure nor what may follow a backslash.
_TEXT = bytes(_EVERY_BYTE - set(b'{}[]"\\/bfnrtu'))
_NOT_STRUCTURE = bytes(_EVERY_BYTE - set(b'{}[]"'))
_AS_ROUND = bytes.maketrans(b"[]{}", b"()()")


def read(body: bytes, *, max_depth: int = MAX_DEPTH) -> Document:
    """The document of a body. Raises `MalformedBody` (400, param `request_body`) in LiteLLM's words."""
    _check_text(body)
    try:
        document = _decoder.decode(body)
    except RecursionError:
        raise _malformed(f"nested deeper than {max_depth} levels") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(str(error)) from None
    if len(document) > MAX_FIELDS:
        raise _malformed(f"more than {MAX_FIELDS} fields")
    if _opens_more_than(body, max_depth):
        _check_structure(_brackets(body), max_depth)
    return document


def write(document: Document) -> bytes:
    """The bytes of a document: raw values verbatim, names spelled out, each once."""
    return _encoder.encode(document)


def _check_text(body: bytes) -> None:
    if not body:
        raise _malformed("the body is empty")
    if body.startswith(b"\xef\xbb\xbf"):
        raise _malformed("the body begins with a byte order mark")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise _malformed(f"not UTF-8 (byte {error.start})") from None


def _opens_more_than(body: bytes, brackets: int) -> bool:
    """Whether a body has more opening brackets than that, wherever; `find` leaps where `count` would walk."""
    for bracket in (b"{", b"["):
        position = body.find(bracket)
        while position >= 0:
            brackets -= 1
            if brackets < 0:
                return True
            position = body.find(bracket, position + 1)
    return False


def _brackets(body: bytes) -> bytes:
    """The brackets of valid JSON outside its strings, all of them round.

    Two quotes side by side are an empty string, or nothing between two strings: without them all else stands where it
    stood, and only strings that hold brackets are still to be told from what surrounds them.
    """
    unescaped = body.translate(None, _TEXT).replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(unescaped.translate(_AS_ROUND, _NOT_STRUCTURE).replace(b'""', b"").split(b'"')[::2])


def _check_structure(brackets: bytes, max_depth: int) -> None:
    """Refuse too many brackets, then too deep ones, by passes that each run at the speed of C.

    Taking out every empty pair takes away the innermost level each time.
    """
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise _malformed(f"more than {MAX_CONTAINERS} lists and objects")
    for _ in range(max_depth):
        if not brackets:
            break
        brackets = brackets.replace(b"()", b"")
    if brackets:
        raise _malformed(f"nested deeper than {max_depth} levels")


def _malformed(reason: str) -> MalformedBody:
    return MalformedBody(f"Invalid JSON payload: {reason}", param="request_body")
