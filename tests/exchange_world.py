"""What surrounds an exchange in its stories: keys, a sink for receipts, deployments; and the messages of Envoy."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from extproc.errors import SecretUnavailable, StoreUnavailable
from extproc.events import (
    PROCEED,
    Proceed,
    Refuse,
    RequestBody,
    RequestHeaders,
    ResponseHeaders,
)
from extproc.exchange import Exchange, Surroundings
from extproc.model import Deployment, Key, Receipt, SecretRef, Upstream
from extproc.policy import credentials
from extproc.policy.origins import Origins
from extproc.policy.routing import Routes

API_KEY = "sk-0123456789abcdefghij"
MASTER = "sk-master-0123456789abcdef"
UPSTREAM = Upstream("openai", "https", "api.openai.com", 443, "/v1")
PRICED = Deployment(
    "id-1", "gpt-4o", "openai", "gpt-4o-real", UPSTREAM, "https://api.openai.com/v1", SecretRef("env", "K")
)
UNPRICED = Deployment("id-2", "homemade", "openai", "homemade", UPSTREAM, "https://api.openai.com/v1")
LOCKED = Deployment("id-3", "locked", "openai", "locked", UPSTREAM, "", SecretRef("env", "MISSING"))
USAGE = {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}


class Keys:
    def __init__(self, *keys: Key) -> None:
        self.rows = {key.digest: key for key in keys}
        self.down = False

    async def find(self, digest):
        if self.down:
            raise StoreUnavailable("keys", "gone")
        return self.rows.get(digest)

    async def find_end_user(self, end_user):
        return None

    async def find_tags(self, names):
        return ()


class Sink:
    """A small real sink: acknowledges when told to."""

    def __init__(self) -> None:
        self.accepting = True
        self.receipts: list[Receipt] = []
        self.durable = asyncio.Event()
        self.durable.set()

    def put(self, receipt):
        self.receipts.append(receipt)
        return asyncio.ensure_future(self.durable.wait())


def credential(deployment):
    if deployment is LOCKED:
        raise SecretUnavailable("os.environ/MISSING is not set")
    return (b"authorization", b"Bearer provider-key") if deployment.credential else None


def price(deployment, provider_model, answered, usage, now):
    return None if deployment is UNPRICED else 2 * usage.input_tokens + 10 * usage.output_tokens


class World:
    def __init__(self, **key_fields) -> None:
        self.keys = Keys(Key(digest=credentials.digest(API_KEY), name="sk-...ghij", alias="app", **key_fields))
        self.sink = Sink()
        self.block_unpriced = False
        self.moment = 1_000
        self.origins = Origins()
        self.more: dict[str, Any] = {}

    def exchange(self) -> Exchange:
        return Exchange(
            Surroundings(
                keys=self.keys,
                receipts=self.sink,
                routes=Routes([PRICED, UNPRICED, LOCKED]),
                master_digest=credentials.digest(MASTER),
                credential=credential,
                price=price,
                now=lambda: self.moment,
                event_id=lambda moment: f"event-{moment}",
                block_unpriced_models=self.block_unpriced,
                max_response_bytes=1_000_000,
                origins=self.origins,
                **self.more,
            )
        )


def request_headers(*extra, path=b"/v1/chat/completions", key=API_KEY, end=False):
    headers = [(b":method", b"POST"), (b":path", path), (b"x-request-id", b"call-1"), *extra]
    if key is not None:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    return RequestHeaders(tuple(headers), end, {"source.address": "10.1.2.3:4567"})


def request_body(**fields):
    document = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]} | fields
    return RequestBody(json.dumps(document).encode(), end_of_stream=True)


def response_headers(status=200, kind=b"application/json", *extra, end=False):
    return ResponseHeaders(((b":status", str(status).encode()), (b"content-type", kind), *extra), end)


async def forwarded(world: World, **fields) -> Exchange:
    exchange = world.exchange()
    assert await exchange.receive(request_headers()) == PROCEED
    assert isinstance(await exchange.receive(request_body(**fields)), Proceed)
    return exchange


def refusal(reply) -> tuple[int, dict[str, Any]]:
    assert isinstance(reply, Refuse)
    return reply.status, json.loads(reply.body)["error"]
