"""What each step of an exchange costs without gRPC, Envoy or a disk: `python -m benchmarks --micro`.

The messages are those that Envoy sends for the exchanges of `payloads.py`. Stores answer from memory at once, so that a
story is the work of the data path alone. Numbers are the best of several repetitions: noise only ever adds.
"""

from __future__ import annotations

import asyncio
import os
import time
import timeit
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from benchmarks import limited_steps, paced, payloads, stories
from benchmarks.stories import API_KEY
from extproc import codec
from extproc.admission import Surroundings
from extproc.bodies import request, response
from extproc.events import Event
from extproc.exchange import Exchange
from extproc.model import Deployment, EndUser, Key, Outcome, Receipt, SecretRef, Tag, Upstream, Usage
from extproc.policy import credentials
from extproc.policy.routing import Routes
from extproc.pricing.catalog import Prices
from extproc.providers import registry
from extproc.providers.api import Api
from extproc.telemetry.logs import configure, log_exchange
from extproc.telemetry.metrics import Metrics

UPSTREAM = Upstream("openai", "https", "api.openai.com", 443, "/v1")
DEPLOYMENT = Deployment(
    "id", payloads.MODEL, "openai", payloads.MODEL, UPSTREAM, "https://api.openai.com/v1", SecretRef("env", "KEY")
)
REPEAT = 5
NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115 - the log writer's thread outlives every block
PRICES = Prices((DEPLOYMENT,))


class OneKey:
    """A key store that has what it is asked for at hand."""

    def __init__(self) -> None:
        self._key = Key(digest=credentials.digest(API_KEY), name="sk-...wxyz", models=(payloads.MODEL,))

    async def find(self, digest: str) -> Key | None:
        return self._key if digest == self._key.digest else None

    async def find_end_user(self, _: str) -> EndUser | None:
        return None

    async def find_tags(self, _: Sequence[str]) -> tuple[Tag, ...]:
        return ()


class Kept:
    """A sink where a receipt is durable at once."""

    accepting = True

    def put(self, _: Receipt) -> Awaitable[None]:
        return _at_once()


async def _at_once() -> None:
    return None


SURROUNDINGS = Surroundings(
    keys=OneKey(),
    receipts=Kept(),
    routes=Routes((DEPLOYMENT,)),
    master_digest=credentials.digest("sk-another-key-0123456789"),
    credential=lambda _: (b"authorization", b"Bearer the-provider-s-key"),
    price=PRICES.price,
    now=lambda: time.time_ns() // 1_000_000,
    event_id=lambda moment: f"{moment:012x}{os.urandom(10).hex()}",
    block_unpriced_models=False,
    max_response_bytes=2**20,
)


def table() -> str:
    """The micro benchmark as a Markdown table: µs per step."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    limited = limited_steps.rows()
    streamed = paced.rows(SURROUNDINGS)
    found = {name: _microseconds(step) for name, step in _steps().items()} | streamed | limited
    rows = [f"| {name} | {spent:.1f} |" for name, spent in found.items()]
    return "\n".join(("| step | µs |", "| --- | ---: |", *rows)) + "\n"


def _steps() -> dict[str, Callable[[], object]]:
    plain, stream = stories.plain_messages(), stories.stream_messages()
    events = payloads.events()
    chunk = stories.body_message("response_body", events[1])
    headers = codec.decode(plain[0])
    asked = stories.json_of(payloads.request("h", API_KEY, stream=True))
    api = _api()
    body = _begun(api, events[0])
    outcome = _outcome(plain)
    metrics = Metrics()
    configure(NOWHERE)
    # The log line comes last: its writer's thread would be in the way of what follows.
    return {
        "decode request headers": lambda: codec.decode(plain[0]),
        "decode one streamed chunk": lambda: codec.decode(chunk),
        "credential: read and digest": lambda: credentials.read(headers.headers),
        "request body: read, edit, write": lambda: request.read(api, asked, None).forward("gpt-4o", ask_usage=True),
        "plain response body: read usage": lambda: _read_plain(api, stories.json_of(payloads.answer())),
        "one streamed chunk: feed": lambda: body.feed(events[1]),
        "price of a usage": lambda: PRICES.price(DEPLOYMENT, "gpt-4o", "", Usage(input_tokens=214), 1_760_000_000_000),
        "plain exchange, 4 messages, events only": _telling([codec.decode(message) for message in plain]),
        "plain exchange, 4 messages, with codec": _telling_bytes(plain),
        f"stream, {len(stream)} messages, events only": _telling([codec.decode(message) for message in stream]),
        f"stream, {len(stream)} messages, with codec": _telling_bytes(stream),
        "outcome: metrics": lambda: metrics.observe(outcome, 100_000, payloads.MODEL),
        "outcome: log line": lambda: log_exchange(outcome, 100_000),
    }


def _microseconds(step: Callable[[], object]) -> float:
    timer = timeit.Timer(step)
    count, _ = timer.autorange()
    return min(timer.repeat(REPEAT, count)) / count * 1e6


# -- stories -----------------------------------------------------------------------------------------------------------


def _telling(events: Sequence[Event]) -> Callable[[], Outcome]:
    async def story() -> Outcome:
        exchange = Exchange(SURROUNDINGS)
        for event in events:
            await exchange.receive(event)
        return exchange.close()

    return lambda: stories.driven(story())


def _telling_bytes(messages: Sequence[bytes]) -> Callable[[], Outcome]:
    async def story() -> Outcome:
        exchange = Exchange(SURROUNDINGS)
        for message in messages:
            event = codec.decode(message)
            codec.encode(event, await exchange.receive(event))
        return exchange.close()

    return lambda: stories.driven(story())


def _outcome(messages: Sequence[bytes]) -> Outcome:
    return _telling_bytes(messages)()


# -- what the steps work on --------------------------------------------------------------------------------------------


def _api() -> Api:
    found = registry.find("/v1/chat/completions")
    assert found is not None
    return found[0]


def _begun(api: Api, first: bytes) -> response.EventStreamBody:
    body = response.EventStreamBody(api, hide_usage=True)
    body.feed(first)
    return body


def _read_plain(api: Api, answered: bytes) -> None:
    body = response.PlainBody(api, 2**20)
    body.feed(answered)
    body.flush()
