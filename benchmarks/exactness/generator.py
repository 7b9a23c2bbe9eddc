"""The provider whose count is the truth: a process that generates tokens one by one until nobody listens.

Run as `python -m benchmarks.exactness.generator PORT`. How long an answer is, in tokens, is said by the request's last
message (`answer with 300 tokens`), whose they are by its `user`. Every token is an event of its own, `pace` ms apart; a
plain answer takes as long as its stream would. `GET /tally` tells what was generated for each user: prompt tokens of
requests that were answered, and output tokens, whether anybody received them or not. `max_tokens` is kept unless the
message says `however many`.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from extproc.pricing import tokens

_LENGTH = re.compile(r"answer with (\d+) tokens(?: each (\d+) ms)?( however many)?")
_HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "truth"}

prompts: Counter[str] = Counter()
outputs: Counter[str] = Counter()
requests: Counter[str] = Counter()


class Asked(msgspec.Struct):
    """A request as far as it matters: `prompt` is counted as OpenAI would count it."""

    user: str
    stream: bool
    length: int
    pace: float
    prompt: int


def read(body: bytes) -> Asked:
    asked = json.loads(body)
    told = _LENGTH.search(asked["messages"][-1]["content"])
    assert told is not None
    length, pace, free = int(told[1]), int(told[2] or 0), told[3]
    if not free:
        length = min(length, asked.get("max_tokens") or length)
    prompt = tokens.count_prompt([json.dumps(asked["messages"]).encode()])
    return Asked(asked["user"], bool(asked.get("stream")), length, pace / 1000, prompt)


async def complete(request: Request) -> Response:
    asked = read(await request.body())
    prompts[asked.user] += asked.prompt
    requests[asked.user] += 1
    if asked.stream:
        return StreamingResponse(generate(asked), media_type="text/event-stream")
    await asyncio.sleep(asked.pace * asked.length)
    outputs[asked.user] += asked.length
    message = {"role": "assistant", "content": "a " * asked.length}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return JSONResponse(_HEAD | {"object": "chat.completion", "choices": choices, "usage": usage(asked)})


async def generate(asked: Asked) -> AsyncIterator[bytes]:
    for _ in range(asked.length):
        await asyncio.sleep(asked.pace)
        outputs[asked.user] += 1
        yield event({"choices": [{"index": 0, "delta": {"content": " a"}, "finish_reason": None}]})
    yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield event({"choices": [], "usage": usage(asked)})
    yield b"data: [DONE]\n\n"


def usage(asked: Asked) -> dict[str, int]:
    total = asked.prompt + asked.length
    return {"prompt_tokens": asked.prompt, "completion_tokens": asked.length, "total_tokens": total}


def event(payload: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(_HEAD | payload) + b"\n\n"


async def tally(_: Request) -> Response:
    users = prompts.keys() | outputs.keys()
    return JSONResponse(
        {user: {"prompt": prompts[user], "output": outputs[user], "requests": requests[user]} for user in users}
    )


async def serve(port: int) -> None:
    tokens.preload()
    app = Starlette(
        routes=[Route("/v1/chat/completions", complete, methods=["POST"]), Route("/tally", tally, methods=["GET"])]
    )
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off", backlog=4096)
    server = uvicorn.Server(config)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, setattr, server, "should_exit", True)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
