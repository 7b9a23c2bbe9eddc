"""Metadata that no row can hold keeps no exchange from being booked, nor anybody from reading the ledger."""

from __future__ import annotations

from typing import Any

import pytest
from gateway.redacting import answers, sdk, streams

#: Nearly as deep as a body may be.
NESTED: dict[str, Any] = {"a": 1}
for _ in range(120):
    NESTED = {"a": NESTED}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("metadata", "kept"), [({"n": 10**30}, "omitted"), (NESTED, "a")], ids=["giant", "nested"])
async def test_it_is_booked_and_the_ledger_is_shown(gateway, upstream, metadata, kept, stream):
    script = streams({"content": "hello"}) if stream else answers({"content": "hello"})
    model = upstream.plays(f"metadata-{kept}-{stream}", script)
    asked: Any = {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    async with sdk(gateway, await gateway.new_key()) as client:
        response = await client.chat.completions.with_raw_response.create(**asked, extra_body={"metadata": metadata})
        await response.http_response.aread()

    row = await gateway.only_row(response.headers["x-litellm-call-id"])

    assert list(row["metadata"]["requester_metadata"]) == [kept]
    assert row["total_tokens"] > 0
