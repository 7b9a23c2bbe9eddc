"""New master and encryption keys for a gateway that serves meanwhile."""

from __future__ import annotations

import asyncio
import stat

import pytest
from cli.command_line import Ended, run_process
from cli.test_serve import serving

WITHIN_SECONDS = 30
SECRET = "sk-provider-0123456789"
CONFIG = """
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/PATH}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path


async def run(folder, *arguments: str) -> Ended:
    return await asyncio.to_thread(run_process, *arguments, "--data-dir", "data", cwd=folder)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def becomes(server, key: str, status: int) -> None:
    """The key meets this status, soon."""
    async with asyncio.timeout(WITHIN_SECONDS):
        while (await server.ask("/key/list", **bearer(key))).status_code != status:
            await asyncio.sleep(0.1)


async def test_keys_are_changed_while_the_gateway_serves(folder):
    async with serving(folder, "--config", "config.yaml") as server:
        await server.until_serving()
        old = (folder / "data" / "master_key").read_text().strip()
        made = await server.post("/model/new", old, model_name="fast", litellm_params={
            "model": "openai/gpt-4o-mini", "api_key": SECRET,
        })  # fmt: skip
        assert made.status_code == 200, made.text

        rotated = await run(folder, "rotate-master-key")
        new = (folder / "data" / "master_key").read_text().strip()
        assert (rotated.code, new != old, new in rotated.out) == (0, True, True)
        await becomes(server, new, 200)
        assert (await server.ask("/key/list", **bearer(old))).status_code == 200
        ended = await run(folder, "rotate-master-key", "--end-previous")
        assert ended.out == "the previous master key is refused\n"
        await becomes(server, old, 401)
        assert (await run(folder, "rotate-master-key", "--end-previous")).out == "there is no previous master key\n"

        before = (folder / "data" / "encryption_key").read_text()
        resealed = await run(folder, "rotate-encryption-key")
        assert (resealed.code, resealed.out) == (0, "1 envelopes are encrypted anew\n")
        assert (folder / "data" / "encryption_key").read_text() != before
        assert (folder / "data" / "encryption_key.previous").read_text() == before
        again = await server.post("/model/new", new, model_name="faster", litellm_params={
            "model": "openai/gpt-4o-mini", "api_key": SECRET,
        })  # fmt: skip
        assert again.status_code == 200, again.text
        assert (await run(folder, "rotate-encryption-key")).out == "2 envelopes are encrypted anew\n"

    for name in ("master_key", "encryption_key", "encryption_key.previous"):
        assert stat.S_IMODE((folder / "data" / name).stat().st_mode) == 0o600
    for text in (server.wrote("out"), server.wrote("err"), resealed.out, resealed.err):
        assert SECRET not in text


async def test_a_key_that_the_configuration_names_is_changed_there(folder):
    (folder / "config.yaml").write_text("general_settings: {master_key: os.environ/MY_MASTER_KEY}\n")
    ended = await run(folder, "rotate-master-key", "--config", "config.yaml")

    assert ended.code == 2
    assert "os.environ/MY_MASTER_KEY" in ended.err
    assert "previous_master_keys" in ended.err


async def test_without_a_first_start_there_is_nothing_to_change(folder):
    ended = await run(folder, "rotate-master-key")

    assert (ended.code, ended.out) == (2, "")
    assert "there is no master key" in ended.err
    assert (await run(folder, "rotate-encryption-key")).code == 2
    assert not (folder / "encryption_key").exists()
