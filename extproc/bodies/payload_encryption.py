"""Texts that a client has encrypted: opened for the provider, and the answer encrypted for the client.

The form is Fernet's (`cryptography.fernet`), with a key that the client and this gateway share. In a request every
token, wherever a text may stand, is replaced by what it hides, before anything else looks at the texts. An answer to
such a request has a token in place of every text: of a stream, each delta is a token of its own. JSON inside a string
becomes a JSON string that holds the token. How old a token is does not matter: a conversation may be continued.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import msgspec
from cryptography.fernet import Fernet, InvalidToken

from extproc.bodies.redacted import RedactedPlainBody, RedactedStreamBody, WithheldBody
from extproc.bodies.redaction import Redaction, StreamTexts
from extproc.bodies.request import METADATA
from extproc.bodies.response import ResponseBody
from extproc.errors import MalformedBody, UnknownShape
from extproc.events import Proceed
from extproc.providers.api import Api, Document
from extproc.providers.raw_texts import walk_document
from extproc.providers.texts import Channel, walk

#: Version, time, nonce, one block and the code of authentication are 73 bytes.
_BEGINNING = b"gAAAAA"
#: No part of a longer word, but for the letters that an escape of JSON ends in.
_TOKEN = re.compile(r"(?:(?<![\w-])|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))gAAAAA[A-Za-z0-9_-]{92,}={0,2}")


class Sealing(Redaction):
    """The cipher of one exchange, and what it does to texts in both directions."""

    def __init__(self, cipher: Fernet) -> None:
        super().__init__((), b"")
        self.cipher = cipher
        #: How many tokens the request had; an answer is encrypted where there was one.
        self.opened = 0

    def open(self, api: Api, document: Document) -> None:
        """Replace the tokens of a request, in place. Raises `MalformedBody` for one that this key does not open."""
        # What is written down of a request must not be what was encrypted.
        texts = {name: raw for name, raw in document.items() if name not in METADATA}
        if not any(_BEGINNING in bytes(raw) for raw in texts.values()):
            return
        try:
            walk_document(texts, api.REQUEST_TEXTS, _Opened(self), self.checkpoint)
        except (UnknownShape, msgspec.DecodeError, RecursionError):
            raise MalformedBody("An encrypted text stands where none is expected.") from None
        document.update(texts)

    def answer(self, api: Api, body: bytes) -> bytes:
        """A whole answer, encrypted. Raises `RedactionFailed`."""
        with self._failures():
            return msgspec.json.encode(walk(msgspec.json.decode(body), api.RESPONSE_TEXTS, _Sealed(self)))

    def stream(self) -> StreamTexts:
        return _Sealed(self)

    def begin(
        self, api: Api, headers: Mapping[bytes, bytes], limit: int, reply: Proceed
    ) -> tuple[ResponseBody, Proceed]:
        """What encrypts an answer with these headers, and the reply to them: its length changes."""
        body, removed = self.body(api, headers, limit), (*reply.remove_headers, b"content-length")
        whole = reply.buffer_response_body or not isinstance(body, RedactedStreamBody)
        return body, msgspec.structs.replace(reply, remove_headers=removed, buffer_response_body=whole)

    def body(self, api: Api, headers: Mapping[bytes, bytes], limit: int) -> ResponseBody:
        """What encrypts an answer with these headers; one that cannot be read does not pass."""
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return WithheldBody()
        if kind == b"text/event-stream":
            return RedactedStreamBody(api, self, hide_usage=False)
        return RedactedPlainBody(api, self, limit) if kind == b"application/json" else WithheldBody()

    def seal(self, text: str) -> str:
        """A token; nothing is hidden by nothing."""
        self.checkpoint()
        return self.cipher.encrypt(text.encode("utf-8", "surrogatepass")).decode() if text else text

    def unseal(self, match: re.Match[str]) -> str:
        """What a token hides. Raises `MalformedBody`."""
        self.checkpoint()
        self.opened += 1
        try:
            return self.cipher.decrypt(match[0].encode()).decode()
        except (InvalidToken, UnicodeDecodeError):
            raise MalformedBody("An encrypted text cannot be decrypted with the key that is agreed on.") from None


class _Opened:
    """`Rewrite` of requests."""

    def __init__(self, sealing: Sealing) -> None:
        self._sealing = sealing

    def text(self, text: str) -> str:
        return _TOKEN.sub(self._sealing.unseal, text)

    def json_text(self, text: str) -> str:
        """A JSON string that is one token is JSON that was sealed as a whole."""
        if whole := _TOKEN.fullmatch(text.strip().removeprefix('"').removesuffix('"')):
            return self._sealing.unseal(whole)
        return _TOKEN.sub(lambda match: json.dumps(self._sealing.unseal(match))[1:-1], text)

    def name(self, text: str) -> str:
        return text

    def media(self, what: str) -> None:
        """Stays as it is."""


class _Sealed(StreamTexts):
    """`Channels` of answers."""

    def __init__(self, sealing: Sealing) -> None:
        super().__init__(sealing)
        self._sealing = sealing

    def text(self, text: str) -> str:
        return self._sealing.seal(text)

    def json_text(self, text: str) -> str:
        return f'"{self._sealing.seal(text)}"' if text else text

    def name(self, text: str) -> str:
        return text

    def media(self, what: str) -> None:
        """Stays as it is: a client that encrypts asks for texts."""

    def feed(self, channel: Channel, delta: str, *, json: bool = False) -> str:  # noqa: ARG002 - of the protocol
        return self._sealing.seal(delta)

    def flush(self, *first: object) -> list[tuple[Channel, str]]:  # noqa: ARG002 - of the protocol
        return []
