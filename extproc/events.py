"""What Envoy tells us and what we answer, as frozen values without protobuf.

`codec.py` translates both directions; `exchange.py` knows only these. One reply answers one event. Header names are
lower-case bytes as Envoy sends them, pseudo-headers included; values are raw bytes; repeated names stay repeated
(a repeated credential must be seen as one).
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Header: TypeAlias = tuple[bytes, bytes]


class RequestHeaders(msgspec.Struct, frozen=True, gc=False):
    """`attributes` are the CEL attributes that the filter's `request_attributes` list, e.g. `source.address`."""

    headers: tuple[Header, ...]
    end_of_stream: bool
    attributes: dict[str, str] = {}


class RequestBody(msgspec.Struct, frozen=True, gc=False):
    body: bytes
    end_of_stream: bool


class RequestTrailers(msgspec.Struct, frozen=True, gc=False):
    pass


class ResponseHeaders(msgspec.Struct, frozen=True, gc=False):
    headers: tuple[Header, ...]
    end_of_stream: bool


class ResponseBody(msgspec.Struct, frozen=True, gc=False):
    body: bytes
    end_of_stream: bool


class ResponseTrailers(msgspec.Struct, frozen=True, gc=False):
    pass


Event: TypeAlias = RequestHeaders | RequestBody | RequestTrailers | ResponseHeaders | ResponseBody | ResponseTrailers


class Proceed(msgspec.Struct, frozen=True, gc=False):
    """Go on. `set_headers` overwrite or add; `remove_headers` are lower-case names.

    `body` replaces the body of the event it answers: `None` leaves it, `b""` clears it. `reroute` asks Envoy to choose
    the route again, with the headers just set. `skip_response_body` switches the response body's messages off,
    `buffer_response_body` makes them one, until whose answer the client sees nothing; both have a meaning in the answer
    to `ResponseHeaders` only.
    """

    set_headers: tuple[Header, ...] = ()
    remove_headers: tuple[bytes, ...] = ()
    body: bytes | None = None
    reroute: bool = False
    skip_response_body: bool = False
    buffer_response_body: bool = False


class Refuse(msgspec.Struct, frozen=True, gc=False):
    """Answer the client now: Envoy's immediate response. `details` shows in Envoy's access log."""

    status: int
    headers: tuple[Header, ...]
    body: bytes
    details: str


Reply: TypeAlias = Proceed | Refuse

#: The commonest reply; the codec answers it with constant bytes.
PROCEED = Proceed()
