"""Every block of a runbook for LiteLLM that addresses the gateway does here what it says; see `seed_blocks`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import running_postgres
from gateway.running_gateway import CHAT, HELLO, bearer
from gateway.seed_blocks import FERNET, MASTER, SEED, Runbook, embedded, environment, shared, written
from prometheus_client.parser import text_string_to_metric_families

from extproc import settings
from extproc.model import SecretRef

_WITHIN_SECONDS = 60


@pytest.fixture(scope="module", params=[embedded, shared], ids=["sqlite", "postgresql-redis"])
async def runbook(request, tmp_path_factory) -> AsyncIterator[Runbook]:
    with environment():
        async with request.param(tmp_path_factory.mktemp("seed")) as found:
            yield found


@pytest.fixture
async def admin(runbook) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=runbook.up.http, headers=bearer(MASTER), timeout=30) as client:
        yield client


async def asked(admin: httpx.AsyncClient, path: str, **body: Any) -> Any:
    response = await admin.post(path, json=body)
    assert response.status_code in {200, 400}, response.text
    return response.json()


async def chat(admin: httpx.AsyncClient, key: str, **body: Any) -> int:
    told = {"model": "gpt-4o", "messages": HELLO, **body}
    return (await admin.post(CHAT, json=told, headers=bearer(key))).status_code


async def test_a_master_key_is_made_and_taken(runbook):
    made = await runbook.shell("make_master_key.sh")
    plain, key = made.out.split()

    assert made.code == 0
    assert (len(plain), len(key)) == (64, 67)
    assert key.startswith("sk-")


async def test_a_key_with_limits_and_a_budget(runbook, admin):
    made = await runbook.shell("generate_key.sh")

    assert made.status == 200, made.out
    shown = {name: made.body[name] for name in ("key_alias", "models", "max_budget", "budget_duration", "rpm_limit")}
    assert shown == {
        "key_alias": "frontend-app", "models": ["gpt-4o", "claude-sonnet-4"], "max_budget": 100.0,
        "budget_duration": "30d", "rpm_limit": 100,
    }  # fmt: skip
    assert (made.body["expires"], made.body["team_id"], made.body["tpm_limit"]) == (None, "team-engineering", 100_000)
    assert made.body["metadata"] == {"environment": "production", "app": "chat-widget"}
    assert await chat(admin, made.body["key"]) == 200
    assert await chat(admin, made.body["key"], model="gpt-4o-mini") == 403


@pytest.mark.parametrize(("block", "rpm"), [("new_team.sh", 500), ("limit_team.sh", 1000)])
async def test_a_team(runbook, admin, block, rpm):
    made = await runbook.shell(block)

    assert made.status == 200, made.out
    assert (made.body["team_alias"], made.body["rpm_limit"]) == ("engineering", rpm)
    key = (await asked(admin, "/key/generate", team_id=made.body["team_id"]))["key"]
    assert await chat(admin, key) == 200
    assert await chat(admin, key, model="gpt-4o-mini") == (403 if block == "new_team.sh" else 200)


async def test_a_member_of_a_team(runbook, admin):
    """The team is made first."""
    await asked(admin, "/team/new", team_id="team-123")
    added = await runbook.shell("add_member.sh")

    assert added.status == 200, added.out
    assert {"user_id": "user@company.com", "role": "user"}.items() <= added.body["members_with_roles"][-1].items()


async def test_a_key_with_places_in_parallel(runbook, admin):
    made = await runbook.shell("limit_key.sh")

    assert made.status == 200, made.out
    assert (made.body["rpm_limit"], made.body["tpm_limit"], made.body["max_parallel_requests"]) == (100, 100_000, 10)
    answer = await admin.post(CHAT, json={"model": "gpt-4o", "messages": HELLO}, headers=bearer(made.body["key"]))
    assert answer.headers["x-ratelimit-limit-requests"] == "100"


async def test_a_compromised_key_is_blocked(runbook, admin):
    """The key is made first."""
    await asked(admin, "/key/generate", key="sk-litellm-compromised")
    assert await chat(admin, "sk-litellm-compromised") == 200
    blocked = await runbook.shell("block_key.sh")

    assert (blocked.status, blocked.body["blocked"]) == (200, True), blocked.out
    await refused(admin, "sk-litellm-compromised")


async def test_all_keys_of_a_team_are_revoked(runbook, admin):
    """The team and a key are made first."""
    await asked(admin, "/team/new", team_id="team-123")
    key = (await asked(admin, "/key/generate", team_id="team-123"))["key"]
    assert await chat(admin, key) == 200
    blocked = await runbook.shell("block_team.sh")

    assert (blocked.status, blocked.body["blocked"]) == (200, True), blocked.out
    await refused(admin, key)


async def refused(admin: httpx.AsyncClient, key: str) -> None:
    """Every worker refuses it within a second; it is asked until none of several answers in a row is another."""
    async with asyncio.timeout(_WITHIN_SECONDS):
        while {await chat(admin, key) for _ in range(6)} != {401}:
            await asyncio.sleep(0.05)


async def test_a_client_encrypts_what_it_says_and_decrypts_the_answer(runbook, admin):
    """Put in: the key that the gateway knows too, and the name that the call has had since `openai` 1.0."""
    key = (await asked(admin, "/key/generate", key_alias="sealed"))["key"]
    put_in = {"Fernet.generate_key()": repr(FERNET), "openai.ChatCompletion.create": "openai.chat.completions.create"}
    ran = await runbook.python("encrypted_chat.py.txt", key, after="print(decrypted.decode())", **put_in)

    assert ran.code == 0, ran.err
    assert ran.out.strip()


async def test_a_request_that_tells_of_a_consent_is_served(runbook, admin):
    """Put in: messages, and the client itself."""
    key = (await asked(admin, "/key/generate"))["key"]
    before = "from openai import OpenAI\nclient = OpenAI()\n"
    ran = await runbook.python(
        "consent.py.txt", key, before=before, **{"[...]": '[{"role": "user", "content": "Hello!"}]'}
    )

    assert ran.code == 0, ran.err
    (row,) = await booked(admin, key, 1)
    assert row["status"] == "success"


async def test_the_data_of_a_user_are_deleted(runbook, admin):
    """The user and a key are made first."""
    await admin.post("/user/new", json={"user_id": "user@company.com"})
    key = (await asked(admin, "/key/generate", user_id="user@company.com"))["key"]
    deleted = await runbook.shell("delete_user.sh")

    assert deleted.status == 200, deleted.out
    assert (await admin.get("/user/info", params={"user_id": "user@company.com"})).status_code == 404
    await refused(admin, key)


async def test_a_user_is_given_their_data(runbook, admin):
    """The user is made first."""
    await admin.post("/user/new", json={"user_id": "user@company.com"})
    exported = await runbook.shell("export_user.sh")

    assert exported.status == 200, exported.err
    assert "user@company.com" in (runbook.up.folder / "user_data.json").read_text()


async def booked(admin: httpx.AsyncClient, key: str, count: int) -> list[dict[str, Any]]:
    """The rows of a key when there are so many."""
    async with asyncio.timeout(_WITHIN_SECONDS):
        while True:
            rows = (await admin.get("/spend/logs", params={"api_key": key})).json()
            if len(rows) >= count:
                return list(rows)
            await asyncio.sleep(0.05)


async def questions(runbook: Runbook, block: str, **put_in: str) -> list[Any]:
    return await running_postgres.server().execute(written(block, **put_in), runbook.database or "")


@pytest.mark.parametrize("runbook", [shared], ids=["postgresql-redis"], indirect=True)
async def test_the_questions_in_sql(runbook, admin):
    """Put in: the digest of the key. It is PostgreSQL's SQL, for its views: SQLite knows neither NOW() nor INTERVAL."""
    key = (await asked(admin, "/key/generate", key_alias="traced"))["key"]
    assert await chat(admin, key) == 200
    await booked(admin, key, 1)
    trail = await questions(runbook, "audit_trail.sql")
    (traced,) = await questions(runbook, "trace_key.sql", **{"hashed-key": hashlib.sha256(key.encode()).hexdigest()})

    assert (trail[0][2], trail[0][3]) == ("created", "LiteLLM_VerificationToken")
    assert (traced[1], traced[3] > 0, traced[5]) == ("gpt-4o", True, None)
    assert await questions(runbook, "unusual_spend.sql") == []
    assert await questions(runbook, "failed_authentication.sql") == []


async def test_the_series_of_the_alerts_are_there(runbook, admin):
    key = (await asked(admin, "/key/generate"))["key"]
    assert await chat(admin, key) == 200
    await booked(admin, key, 1)
    text = (await admin.get("/metrics")).text
    series = {
        (sample.name, sample.labels.get("status"))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    alerts = (SEED / "alerts.yaml").read_text()
    assert 'rate(litellm_requests_total{status="error"}[5m])' in alerts
    assert "increase(litellm_spend_total[1h])" in alerts
    assert {("litellm_requests_total", "error"), ("litellm_spend_total", None)} <= series


#: What each block of configuration changes, and which of it is named as not supported.
BLOCKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "master_key.yaml": ({"master_key": "os.environ/LITELLM_MASTER_KEY"}, []),
    "environment.yaml": (
        {
            "master_key": "os.environ/LITELLM_MASTER_KEY", "database_url": "os.environ/DATABASE_URL",
            "deployments.0.credential": "os.environ/OPENAI_API_KEY",
            "deployments.1.credential": "os.environ/AZURE_API_KEY",
            "deployments.1.upstream.host": "company.openai.azure.com",
        },
        [],
    ),
    "vault.yaml": (
        {
            "managers.vault.address": "https://vault.company.com", "managers.vault.mount_path": "secret/litellm",
            "managers.vault.token": "os.environ/VAULT_TOKEN", "deployments.0.credential": "vault/openai/api_key",
        },
        [],
    ),
    "database_tls.yaml": ({"database_url.scheme": "literal"}, []),
    "health_data.yaml": ({"database_url.scheme": "literal"}, []),
    "minimal_data.yaml": (
        {"store_model_in_db": True, "store_audit_logs": True, "keep_ledger_ms": 90 * 86_400_000}, []
    ),
    "redacted_logs.yaml": ({"redact_user_api_key_info": True}, []),
    "rate_limits.yaml": (
        {
            "per_deployment.max_parallel_requests": 100, "everybody.max_parallel_requests": 1000,
            "everybody.rpm_limit": 10_000, "everybody.tpm_limit": 1_000_000,
        },
        [],
    ),
    "access_logs.yaml": (
        {}, ["success_callback: langfuse", "failure_callback: langfuse", "failure_callback: sentry"]
    ),
    "sso.yaml": (
        {
            "sso.providers.0.issuer": "https://accounts.google.com",
            "sso.providers.0.client_id": "os.environ/GOOGLE_CLIENT_ID",
            "sso.providers.0.client_secret": "os.environ/GOOGLE_CLIENT_SECRET",
            "sso.providers.0.allowed_domains": ("company.com", "subsidiary.com"),
        },
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_configuration_takes_effect_or_is_named_as_not_supported(monkeypatch, block):
    monkeypatch.setenv("AZURE_API_BASE", "https://company.openai.azure.com")
    told, unsupported = BLOCKS[block]
    loaded = settings.load(SEED / block)

    assert {path: found(loaded, path) for path in told} == told
    assert len(loaded.unsupported) == len(unsupported)
    for line, expected in zip(loaded.unsupported, unsupported, strict=True):
        assert f"{expected} is not supported" in line


def found(value: Any, path: str) -> Any:
    """What stands at a dotted path; of a secret, where it is."""
    for step in path.split("."):
        value = value[int(step)] if step.isdigit() else getattr(value, step)
    return str(value) if isinstance(value, SecretRef) else value
