"""What the rest of the house asks of a provider API, so that no other floor knows a field of one.

An *API* is a wire shape (OpenAI chat completions); a *provider* is a company whose hosts speak one or more of them. A
module is an API when it has the members of `Api`; `registry.py` lists the modules, and mypy holds them to the protocol.

A request is a `Document`: the top level of the JSON object decoded, its values still raw bytes, so that a large
`messages` is copied and never parsed. A response is read by a `UsageReader`, which is fed decoded JSON payloads: the
whole body of a plain response, or one event's `data` of a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from extproc.model import Usage
from extproc.providers.texts import Channels, Spec, Streamed

#: Top-level name to raw JSON value.
Document: TypeAlias = dict[str, msgspec.Raw]


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the decisions need to know of a request.

    `max_output_tokens` is what the client allows for the whole answer, `None` where it does not say.
    `wants_usage` is whether a streaming client asked to see the usage itself. `texts` are the raw JSON values that
    hold the prompt, for an estimate of its size.
    """

    model: str
    stream: bool
    max_output_tokens: int | None = None
    choices: int = 1
    wants_usage: bool = False
    end_user: str | None = None
    tags: tuple[str, ...] = ()
    metadata: dict[str, object] = {}
    texts: tuple[msgspec.Raw, ...] = ()


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one response payload told.

    `usage` is cumulative where it is given; `usage_begins` says that its output is not known yet. `finished` is whether
    the response is complete with this payload.
    `usage_only` marks a payload that exists only because usage was asked for: a client that did not ask never sees it.
    `text` is the output text of the payload, all choices and channels together, for an estimate where a stream is cut.
    """

    response_id: str = ""
    model: str = ""
    usage: Usage | None = None
    usage_begins: bool = False
    finished: bool = False
    usage_only: bool = False
    text: str = ""


class Assembled(Protocol):
    """What the events of one stream amount to."""

    def feed(self, event: Any) -> None:
        """The decoded data of an event. What is not understood is left out."""
        ...

    def answer(self) -> Any:
        """The answer so far, in the shape of one that is not streamed."""
        ...


class Api(Protocol):
    """One wire shape."""

    #: Name of the module's API, e.g. `openai_chat`.
    NAME: str
    #: LiteLLM's `call_type`, e.g. `acompletion`.
    OPERATION: str
    #: Client paths that speak it, without query; may hold `{model}` for one path segment.
    PATHS: tuple[str, ...]
    #: Path below an upstream's `base_path`, e.g. `/chat/completions`.
    UPSTREAM_PATH: str
    #: Bytes that may hold usage or the end of a stream match one of these patterns for `re`; nothing else is parsed.
    #: Each begins with a literal, which is found by leaps: as alternatives of one pattern they take four times as long.
    STREAM_MARKS: tuple[bytes, ...]
    #: Where requests and whole answers have texts: see `texts.py`.
    REQUEST_TEXTS: Mapping[str, Spec]
    RESPONSE_TEXTS: Spec

    def streamed(self, channels: Channels) -> Streamed:
        """For the texts of one event stream."""
        ...

    def assembled(self) -> Assembled:
        """For the events of one stream."""
        ...

    def read_request(self, document: Document) -> RequestFacts:
        """The facts of a request. Raises `MalformedBody` naming the field for a missing or wrong one."""
        ...

    def write_request(
        self, document: Document, facts: RequestFacts, provider_model: str, *, ask_usage: bool = True
    ) -> None:
        """Edit the document in place for the provider: its model name, and usage asked for in streams.

        `ask_usage=False` is for a provider whose row in `hosts.HOSTS` says that it does not know `stream_options`.
        """
        ...

    def read_response(self, payload: bytes) -> Reading:
        """Read a plain response, or one event's `data`. Never raises: what is not understood is an empty reading."""
        ...

    def merge_usage(self, earlier: Usage | None, later: Usage | None) -> Usage | None:
        """The usage of a stream that has told it twice."""
        ...

    def error_event(self, message: str, kind: str, param: str | None, status: int) -> bytes:
        """The same as an event of a stream, on the wire: what this API's SDKs raise as an error."""
        ...

    def error_body(self, message: str, kind: str, param: str | None, status: int) -> bytes:
        """An error in the shape that this API's SDKs expect."""
        ...
