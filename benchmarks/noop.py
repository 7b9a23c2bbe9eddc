"""The floor: a processor on the same stack that reads every message and changes nothing.

Run as a process: `python -m benchmarks.noop unix:/PATH [rewriting]`. As llm-extproc it is `grpc.aio` on uvloop, decodes
and encodes with the upb classes that the codec derives, and is asked by Envoy for the same messages (request BUFFERED,
response STREAMED). What llm-extproc costs above it is what llm-extproc does, not what the stack does. `rewriting` sends
every piece of an answer back as a new body: what Envoy's protocol asks of whoever changes a stream, before any thought.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import uvloop
from grpc import aio

from extproc import codec


def processing(*, rewriting: bool) -> Callable[[AsyncIterator[Any], object], AsyncIterator[Any]]:
    """What answers each message of one exchange with "go on, unchanged", or pieces of an answer with themselves."""

    async def process(messages: AsyncIterator[Any], _: object) -> AsyncIterator[Any]:
        async for message in messages:
            response = codec.ProcessingResponse()
            kind = message.WhichOneof("request")
            getattr(response, kind).SetInParent()
            if rewriting and kind == "response_body":
                response.response_body.response.body_mutation.body = message.response_body.body
            yield response

    return process


async def main(address: str, *, rewriting: bool) -> None:
    server = aio.server(options=[("grpc.max_concurrent_streams", 100_000), ("grpc.so_reuseport", 0)])
    handler = grpc.stream_stream_rpc_method_handler(
        processing(rewriting=rewriting),
        request_deserializer=codec.ProcessingRequest.FromString,
        response_serializer=codec.ProcessingResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(codec.SERVICE, {codec.METHOD: handler}),))
    server.add_insecure_port(address)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(1)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], rewriting="rewriting" in sys.argv[2:]))
