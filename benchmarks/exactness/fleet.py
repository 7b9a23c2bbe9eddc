"""The gateway as it is installed for many: workers, PostgreSQL, Redis, and one Envoy in front of all.

Every process is started here and ended here by its id. The workers are `extproc serve`, Envoy reads what `extproc
render envoy` prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import yaml

from benchmarks.exactness.tenants import DEAR_PRICE, PRICE
from benchmarks.processes import ROOT, Started, accepts, envoy_path, free_port, module, running, wait_until


class Fleet(msgspec.Struct):
    """A running fleet. `environment` is that of its workers."""

    url: str
    generator_url: str
    master_key: str
    workers: list[Started]
    redis: Any
    postgres: Any
    config: Path
    data_dir: Path
    environment: dict[str, str]

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.master_key}"}

    def new_key(self, client: httpx.Client, **fields: Any) -> str:
        answer = client.post(f"{self.url}/key/generate", json=fields, headers=self.headers())
        answer.raise_for_status()
        return str(answer.json()["key"])


@contextlib.contextmanager
def started(folder: Path, *, workers: int = 3, program: str = "extproc", **settings: Any) -> Iterator[Fleet]:
    """A fleet in `folder`; `program` is the module of the workers, `settings` go to `extproc_settings`."""
    sys.path.append(str(ROOT / "tests"))
    # The servers are those of the tests.
    from running_postgres import server
    from running_redis import running_redis

    with contextlib.ExitStack() as stack:
        port, generator_port = free_port(), free_port()
        environment = {"EXTPROC_BENCH_MASTER_KEY": f"sk-{secrets.token_urlsafe(32)}"}
        generator = stack.enter_context(
            running("generator", module("benchmarks.exactness.generator", str(generator_port)), folder)
        )
        wait_until(lambda: accepts(generator_port), generator)
        redis = stack.enter_context(running_redis())
        postgres = server()
        database = f"bench_{secrets.token_hex(4)}"
        asyncio.run(postgres.execute(f"CREATE DATABASE {database}"))
        environment["EXTPROC_BENCH_DATABASE_URL"] = postgres.url(database)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(_configuration(generator_port, redis.url, settings)))
        place = ("--config", str(config), "--data-dir", str(folder / "data"), "--workers", str(workers))
        serving = [
            stack.enter_context(
                running(
                    f"worker-{index}", module(program, "serve", *place, "--worker", str(index)), folder, environment
                )
            )
            for index in range(workers)
        ]
        bootstrap = _render(place, port, environment)
        for index, worker in enumerate(serving):
            wait_until((folder / "data" / "run" / f"processor-{index}.sock").exists, worker)
        (folder / "envoy.json").write_text(json.dumps(bootstrap))
        command = [
            envoy_path(),
            "-c",
            str(folder / "envoy.json"),
            "--concurrency",
            "2",
            "--disable-hot-restart",
            "-l",
            "warn",
        ]
        envoy = stack.enter_context(running("envoy", command, folder))
        wait_until(lambda: accepts(port), envoy)
        yield Fleet(
            f"http://127.0.0.1:{port}", f"http://127.0.0.1:{generator_port}", environment["EXTPROC_BENCH_MASTER_KEY"],
            serving, redis, postgres, config, folder / "data", {**os.environ, **environment},
        )  # fmt: skip


def _configuration(port: int, redis_url: str, settings: dict[str, Any]) -> dict[str, Any]:
    common = {"api_base": f"http://127.0.0.1:{port}/v1", "api_key": "os.environ/EXTPROC_BENCH_MASTER_KEY"}
    prices = {"truth": (PRICE, PRICE), "dear": ("0", DEAR_PRICE)}
    return {
        "model_list": [
            {
                "model_name": name,
                "litellm_params": {
                    "model": f"openai/{name}",
                    "input_cost_per_token": given,
                    "output_cost_per_token": taken,
                    **common,
                },
            }
            for name, (given, taken) in prices.items()
        ],
        "general_settings": {
            "master_key": "os.environ/EXTPROC_BENCH_MASTER_KEY",
            "database_url": "os.environ/EXTPROC_BENCH_DATABASE_URL",
        },
        "router_settings": {"redis_url": redis_url},
        **({"extproc_settings": settings} if settings else {}),
    }


def _render(place: tuple[str, ...], port: int, environment: dict[str, str]) -> dict[str, Any]:
    command = module("extproc", "render", "envoy", *place, "--http-port", str(port), "--https-port", "0")
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"extproc render envoy: {done.stderr.decode(errors='replace')}")
    rendered: dict[str, Any] = yaml.safe_load(done.stdout)
    return rendered
