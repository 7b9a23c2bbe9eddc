"""The gRPC server that Envoy talks to: bytes in, exchange, bytes out. No decision is made here.

Three rules keep it safe. A clean close before a verdict would let the request pass unchecked, so every such exit aborts
the RPC. The receipt is handed over in `finally`, synchronously, because a cancelled task may not await. And once Envoy
has nothing more to ask the call returns, which spares the wait for Envoy's half-close.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import grpc
from grpc import aio

from extproc import codec
from extproc.admission import Surroundings
from extproc.errors import ProtocolError, StreamEnded
from extproc.exchange import Exchange
from extproc.model import Outcome

logger = logging.getLogger(__name__)

#: Room for the message around a body of the largest allowed size: headers, attributes, framing.
MESSAGE_OVERHEAD_BYTES = 1024 * 1024


class Processor:
    """Envoy's external processor. `report` takes each outcome with the nanoseconds that this process added to it.

    `surroundings` may be replaced at any time: exchanges keep those that they began with.
    """

    def __init__(self, surroundings: Surroundings, report: Callable[[Outcome, int], None]) -> None:
        self.surroundings = surroundings
        self._report = report
        self.in_flight = 0

    async def process(self, _: object, context: Any) -> None:
        """Serve one ext_proc stream: one exchange."""
        exchange = Exchange(self.surroundings)
        busy = [0]
        self.in_flight += 1
        try:
            await _converse(exchange, context, busy)
        except StreamEnded:
            await context.abort(grpc.StatusCode.ABORTED, "the stream has ended")
        except ProtocolError as error:
            logger.warning("protocol_error", extra={"event_id": exchange.event_id, "error": str(error)})
            await context.abort(grpc.StatusCode.INTERNAL, "protocol error")
        finally:
            self.in_flight -= 1
            self._report(exchange.close(), busy[0])


async def _converse(exchange: Exchange, context: Any, busy: list[int]) -> None:
    while not exchange.over:
        message = await context.read()
        if message is aio.EOF:
            break
        began = perf_counter_ns()
        event = codec.decode(message)
        reply = codec.encode(event, await exchange.receive(event))
        busy[0] += perf_counter_ns() - began
        await context.write(reply)
    if not exchange.decided:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "no verdict")


async def start(processor: Processor, address: str, max_request_bytes: int) -> aio.Server:
    """Serve on `address` (`unix:/path`). Message bytes are decoded and encoded by the codec alone."""
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", max_request_bytes + MESSAGE_OVERHEAD_BYTES),
            ("grpc.max_send_message_length", max_request_bytes + MESSAGE_OVERHEAD_BYTES),
            ("grpc.so_reuseport", 0),
            ("grpc.max_concurrent_streams", 100_000),
        ]
    )
    handler = grpc.stream_stream_rpc_method_handler(processor.process)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(codec.SERVICE, {codec.METHOD: handler}),))
    server.add_insecure_port(address)
    await server.start()
    return server
