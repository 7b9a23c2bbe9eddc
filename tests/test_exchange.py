"""What Envoy does by itself, and what may follow what."""

from __future__ import annotations

from itertools import product

import pytest
from exchange_world import (
    World,
    forwarded,
    request_body,
    request_headers,
    response_headers,
)

from extproc.errors import ProtocolError
from extproc.events import (
    PROCEED,
    RequestTrailers,
    ResponseBody,
    ResponseTrailers,
)
from extproc.exchange import _STEPS, Phase


async def test_envoys_own_answer_passes_and_leaves_no_receipt():
    world = World()
    exchange = world.exchange()
    await exchange.receive(request_headers())
    for event in (response_headers(413), ResponseBody(b"too large", end_of_stream=True)):
        assert await exchange.receive(event) == PROCEED

    assert exchange.close().status == 413
    assert world.sink.receipts == []


async def test_a_rejection_by_an_earlier_filter_has_no_request_and_passes():
    exchange = World().exchange()

    assert await exchange.receive(response_headers(403)) == PROCEED
    assert exchange.decided


async def test_an_exchange_is_undecided_until_there_is_a_verdict():
    exchange = World().exchange()
    assert not exchange.decided
    await exchange.receive(request_headers())
    assert not exchange.decided
    await exchange.receive(request_body())
    assert exchange.decided


EVENTS = [
    request_headers(),
    request_body(),
    RequestTrailers(),
    response_headers(),
    ResponseBody(b"", end_of_stream=False),
    ResponseTrailers(),
]


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, EVENTS)), ids=lambda value: type(value).__name__)
async def test_what_the_table_does_not_list_is_a_protocol_error(phase, event):
    exchange = await forwarded(World())
    exchange.phase = phase
    if (phase, type(event)) in _STEPS:
        assert callable(_STEPS[phase, type(event)])
        return

    with pytest.raises(ProtocolError):
        await exchange.receive(event)
