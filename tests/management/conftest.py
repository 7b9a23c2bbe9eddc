"""The management API over a real SQLite store, and a client for each kind of caller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from empty_sqlite import opened_sqlite
from fastapi import FastAPI

from extproc.errors import StoreUnavailable
from extproc.holds import Scope
from extproc.management import ManagementParts, create_app
from extproc.model import Deployment, Receipt, Upstream, Usage
from extproc.policy import credentials
from extproc.settings.model import Settings
from extproc.stores.audit_chain import AuditKey
from extproc.stores.sql import SqlStore

MASTER = "sk-master-0123456789"
AUDIT_KEY = AuditKey(MASTER)
#: Monday, 23 November 2026, 15:04:05.678 UTC.
NOW = 1_795_446_245_678

OPENAI = Upstream("openai", "https", "api.openai.com", 443, "/v1")


def deployment(name: str, model: str, **fields: Any) -> Deployment:
    return Deployment(
        id=f"id-{name}", model_name=name, provider="openai", provider_model=model, upstream=OPENAI,
        api_base="https://api.openai.com/v1", **fields,
    )  # fmt: skip


SETTINGS = Settings(
    deployments=(
        deployment(
            "gpt-4o", "gpt-4o", model_info={"mode": "chat", "max_input_tokens": 128_000, "max_output_tokens": "x"}
        ),
        deployment("gpt-4o", "gpt-4o-2024-08-06"),
        deployment("small", "gpt-4o-mini"),
        deployment("openai/*", "*"),
    )
)


class Gateway:
    """One running management API: its store, its clock, what it told the caches, and its callers."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.now = NOW
        self.forgotten: list[str] = []
        self.unseeded: list[str] = []
        self.counters_down = False
        self.parts = ManagementParts(
            keys=store,
            entities=store,
            ledger=store,
            trail=store.trail,
            health={"database": store},
            settings=SETTINGS,
            master_digest=credentials.digest(MASTER),
            now=lambda: self.now,
            metrics=lambda: b"extproc_up 1\n",
            forget=lambda scope: self.forgotten.append(f"{scope.kind} {scope.id}"),
            unseed=self.unseed,
        )
        self.app = create_app(self.parts)

    async def unseed(self, scope: Scope) -> None:
        if self.counters_down:
            raise StoreUnavailable("counters", "gone")
        self.unseeded.append(f"{scope.kind} {scope.id}")

    def caller(self, key: str | None = MASTER) -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://gateway", headers=headers, timeout=30
        )

    def with_parts(self, **changes: Any) -> FastAPI:
        self.app = create_app(msgspec.structs.replace(self.parts, **changes))
        return self.app

    async def generate(self, **body: Any) -> dict[str, Any]:
        async with self.caller() as admin:
            response = await admin.post("/key/generate", json=body)
        assert response.status_code == 200, response.text
        made: dict[str, Any] = response.json()
        return made

    async def book(self, digest: str, event_id: str = "event", **fields: Any) -> Receipt:
        plain = {
            "event_id": event_id, "call_id": f"call-{event_id}", "key_digest": digest, "started_at": NOW,
            "ended_at": NOW + 1_500, "operation": "acompletion", "path": "/v1/chat/completions",
            "model_group": "gpt-4o",
            "model": "gpt-4o-2024-08-06", "model_id": "id-gpt-4o", "provider": "openai",
            "api_base": "https://api.openai.com/v1", "http_status": 200, "status": "success", "stream": True,
            "usage": Usage(input_tokens=10, output_tokens=5), "spend": 125_000, "provider_response_id": "chatcmpl-1",
        }  # fmt: skip
        receipt = Receipt(**{**plain, **fields})
        await self.store.record([receipt], now=NOW + 2_000)
        return receipt


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    store = await opened_sqlite(tmp_path, audit_key=AUDIT_KEY)
    yield Gateway(store)
    await store.close()


@pytest.fixture
async def admin(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.caller() as client:
        yield client
