"""Chat requests as they should be but for one thing, and what may come of them."""

from __future__ import annotations

import asyncio
import json

from gateway.running_gateway import CHAT, Gateway
from gateway.wire import Answer, Headers, http2

BODY = b'{"model":"homemade","messages":[{"role":"user","content":"hi"}]}'
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
TYPE = ("content-type", "application/json")
FORGED = "x-extproc-upstream: provider"


def request(*headers: str, key: str = "", line: str = f"POST {CHAT} HTTP/1.1", body: bytes = BODY) -> bytes:
    """A request as it should be, but for what is said otherwise. A `content-length` is added where none is."""
    lines = [line, "host: gateway", "content-type: application/json", *headers]
    if key:
        lines.append(f"authorization: Bearer {key}")
    if not [each for each in headers if each.lower().startswith(("content-length", "transfer-encoding"))]:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


async def is_booked(gateway: Gateway, found: Answer) -> bool:
    """Whether an answer is the scripted provider's, and stands in the ledger once."""
    return len(await gateway.rows(json.loads(found.body)["id"])) == 1


def reads_well(found: Answer) -> bool:
    """Whether a refusal is LiteLLM's envelope, or one of its two answers from before any handler."""
    if found.status in {404, 405}:
        return found.body in {b'{"detail":"Not Found"}', b'{"detail":"Method Not Allowed"}'}
    return bool(found.error["message"])


async def http2_statuses(gateway: Gateway, *heads: Headers) -> set[int]:
    """What comes of each request on a connection of its own, all at once: Envoy takes a second to close one."""

    async def ask(head: Headers) -> int:
        async with http2(gateway) as connection:
            return (await connection.ask([*head, TYPE], [BODY])).status

    return set(await asyncio.gather(*map(ask, heads)))
