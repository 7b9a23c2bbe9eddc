"""Moving in: `python -m benchmarks.litellm_import`: how long it takes to import a LiteLLM database of many keys.

A database with LiteLLM's tables is filled, imported into PostgreSQL beside a running gateway, and imported again; then
one of the imported keys is used through Envoy, as its owner would use it the next minute.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import subprocess
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from benchmarks.exactness import fleet
from benchmarks.exactness.fleet import Fleet
from benchmarks.processes import ROOT, module

_TABLES = ROOT / "tests" / "importing" / "litellm_1_109.sql"
_TEAMS = 500
_SPENDING_KEYS = 2_000


def main(
    keys: Annotated[int, typer.Option(min=1, help="Keys in LiteLLM's database.")] = 50_000,
    spend_rows: Annotated[int, typer.Option(min=0, help="Spend rows in LiteLLM's database.")] = 100_000,
) -> None:
    """Fill, import, import again, use a key."""
    raw = [f"sk-{secrets.token_urlsafe(16)}" for _ in range(keys)]
    with tempfile.TemporaryDirectory(prefix="import-") as folder, fleet.started(Path(folder), workers=1) as running:
        url = asyncio.run(_filled(running.postgres, raw, spend_rows))
        for what in ("first import", "second import"):
            began = time.monotonic()
            report = _import(running, url)
            print(f"{what}: {time.monotonic() - began:.1f} s  {json.dumps(report['rows'])}", flush=True)
        for remark in report["remarks"]:
            print(f"  {remark['count']:,}: {remark['text']}")
        status = asyncio.run(_use(running, raw[keys // 2]))
        print(f"an imported key, used through Envoy: HTTP {status}")


async def _filled(postgres: Any, raw: list[str], spend_rows: int) -> str:
    """The URL of a database with these keys, in teams, with spend."""
    import asyncpg

    name = f"litellm_{secrets.token_hex(4)}"
    await postgres.execute(f"CREATE DATABASE {name}")
    connection = await asyncpg.connect(postgres.url(name))
    await connection.execute(_TABLES.read_text())
    made = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=30)
    spending = min(len(raw), _SPENDING_KEYS)
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in raw]
    await _copy(connection, "TeamTable", [
        {"team_id": f"team-{i}", "team_alias": f"team {i}", "max_budget": 1000.0, "budget_duration": "30d",
         "members_with_roles": json.dumps([{"role": "user", "user_id": f"user-{i}"}]), "metadata": "{}",
         "spend": 0.0, "blocked": False, "created_at": made, "updated_at": made}
        for i in range(_TEAMS)
    ])  # fmt: skip
    await _copy(connection, "UserTable", [
        {"user_id": f"user-{i}", "user_email": f"user-{i}@company.com", "user_role": "internal_user", "spend": 0.0,
         "metadata": "{}", "created_at": made, "updated_at": made}
        for i in range(_TEAMS)
    ])  # fmt: skip
    await _copy(connection, "VerificationToken", [
        {"token": digest, "key_name": f"sk-...{raw[i][-4:]}", "key_alias": f"key-{i}", "team_id": f"team-{i % _TEAMS}",
         "user_id": f"user-{i % _TEAMS}", "spend": 0.0, "total_spend": 0.0, "max_budget": 100.0, "rpm_limit": 100,
         "metadata": '{"model_rpm_limit": {"truth": 50}}', "models": ["truth"], "created_at": made, "updated_at": made}
        for i, digest in enumerate(digests)
    ])  # fmt: skip
    await _copy(connection, "SpendLogs", [
        {"request_id": f"chatcmpl-{i}", "call_type": "acompletion", "api_key": digests[i % spending], "spend": 0.0001,
         "prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30, "model": "truth", "model_group": "truth",
         "startTime": made + timedelta(seconds=i), "endTime": made + timedelta(seconds=i + 1), "status": "success",
         "metadata": "{}", "request_tags": "[]", "team_id": f"team-{i % _TEAMS}"}
        for i in range(spend_rows)
    ])  # fmt: skip
    await connection.close()
    return str(postgres.url(name))


async def _copy(connection: Any, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        records = [tuple(row.values()) for row in rows]
        await connection.copy_records_to_table(f"LiteLLM_{table}", records=records, columns=[*rows[0]])


def _import(running: Fleet, url: str) -> dict[str, Any]:
    place = ("--config", str(running.config), "--data-dir", str(running.data_dir))
    done = subprocess.run(
        module("extproc", "import-litellm", *place, "--json"),
        cwd=ROOT, env={**running.environment, "LITELLM_DATABASE_URL": url}, capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    report: dict[str, Any] = json.loads(done.stdout)
    return report


async def _use(running: Fleet, key: str) -> str:
    message = {"role": "user", "content": "answer with 5 tokens"}
    body = {"model": "truth", "user": "imported", "messages": [message], "max_tokens": 5}
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            f"{running.url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
        )
    return f"{answer.status_code} {answer.text[:300]}"


if __name__ == "__main__":
    typer.run(main)
