"""`extproc up`, tried as somebody does who has just installed it; and what it does when its children die."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import pytest
from running_envoy import whole_lines
from supervisor.running_up import HELLO, Up, bearer, command, environment, running_up


@pytest.fixture(scope="module")
async def up(tmp_path_factory):
    """One for all of these tests."""
    async with running_up(tmp_path_factory.mktemp("up")) as found:
        yield found


@pytest.fixture(scope="module")
async def key(up):
    return await up.new_key()


def test_the_ready_line_is_one_and_comes_before_what_to_try(up):
    lines = [line for line in up.out.splitlines() if line]

    assert lines[0].startswith("master key, shown only now and kept in ")
    assert lines[1] == f"ready: {up.http} {up.https}"
    assert lines[2].startswith("Try this in another terminal (the answers are made up by a simulated provider")
    assert up.out.count("ready: ") == 1


async def test_every_url_of_the_ready_line_answers(up):
    trusted = ssl.create_default_context(cafile=up.authority)
    for url in re.findall(r"https?://\S+", up.out.partition("ready: ")[2].splitlines()[0]):
        async with httpx.AsyncClient(base_url=url, verify=trusted, timeout=30) as client:
            assert (await client.get("/health/readiness")).json() == {"status": "healthy", "db": "connected"}


def test_the_first_words_say_that_nothing_is_real(up):
    assert up.err.startswith(
        "extproc: no provider key is configured, so a SIMULATED provider answers, no model is asked"
    )


def test_the_start_is_quiet_but_for_json_lines_without_failures(up):
    _, *lines = whole_lines(up.start)
    records = [json.loads(line) for line in lines]

    assert [record for record in records if record.get("status", 0) >= 500] == []
    assert not re.search("SQLiteImpl|transactional|Started server|alembic", up.start)


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="the commands need bash and curl")
async def test_what_to_try_works_as_it_is_pasted(up):
    """The shell's own environment counts for nothing but its PATH."""
    commands = up.out.partition("no model is asked):\n")[2]
    blocks = [block for block in commands.split("\n# ") if block.strip()]
    assert [block.splitlines()[0] for block in blocks] == [
        "a virtual key with a budget",
        "a streamed chat completion",
        f"the same with OpenAI's Python SDK (once: {sys.executable} -m pip install openai)",
        "what it cost",
    ]
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-e", "-o", "pipefail", "-c", "\necho; echo NEXT\n# ".join(["", *blocks])),
        env={"PATH": os.environ["PATH"], "HOME": str(up.folder)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(shell.communicate(), 60)
    assert (shell.returncode, err.decode()) == (0, "")
    _, made, streamed, by_sdk, spent = out.decode().split("NEXT\n")

    assert made.strip() == ""
    assert streamed.startswith("data: {")
    assert streamed.rstrip().endswith("data: [DONE]")
    assert by_sdk.startswith("This is a simulated answer: no model was asked.")
    row = json.loads(spent)[0]
    assert (row["model"], row["custom_llm_provider"], row["status"]) == ("gpt-4o-mini", "simulated", "success")
    assert row["spend"] > 0


async def test_anthropics_client_is_answered_too_and_the_answer_is_booked(up, key):
    http = httpx2.AsyncClient(timeout=30)
    async with anthropic.AsyncAnthropic(base_url=up.http, api_key=key, http_client=http, max_retries=0) as sdk:
        asked: Any = {"model": "claude-sonnet-5-5", "max_tokens": 20, "messages": HELLO["messages"]}
        async with sdk.messages.stream(**asked) as stream:
            answer = await stream.get_final_message()
    async with asyncio.timeout(20), httpx.AsyncClient(base_url=up.http, headers=bearer(key), timeout=30) as client:
        # On disk when the answer ended, booked a moment later.
        while not (rows := (await client.get("/spend/logs", params={"request_id": answer.id})).json()):
            await asyncio.sleep(0.05)
    (row,) = rows

    assert answer.content[0].text.startswith("This is a simulated answer")
    assert row["spend_nanos"] == answer.usage.input_tokens * 2_000 + answer.usage.output_tokens * 10_000


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
async def test_tls_speaks_both_protocols_to_whoever_trusts_the_authority(up, key, protocol):
    trusted = ssl.create_default_context(cafile=up.authority)
    http2 = protocol == "HTTP/2"
    async with httpx2.AsyncClient(
        base_url=up.https, verify=trusted, http1=not http2, http2=http2, timeout=30
    ) as client:
        answer = await client.post("/v1/chat/completions", json=HELLO, headers=bearer(key))

    assert answer.http_version == protocol
    assert "simulated answer" in answer.json()["choices"][0]["message"]["content"]
    assert answer.headers["strict-transport-security"]


async def test_tls_is_refused_to_whoever_does_not_trust_the_authority(up):
    async with httpx.AsyncClient(base_url=up.https, timeout=30) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get("/health/readiness")


@pytest.mark.parametrize(
    ("version", "accepted"),
    [("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)],
)
async def test_tls_below_1_2_is_refused(up, version, accepted):
    context = ssl.create_default_context(cafile=up.authority)
    # Otherwise OpenSSL itself would not offer the old ones, and nothing would be shown.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    port = int(up.https.rpartition(":")[2])

    if accepted:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        assert writer.get_extra_info("ssl_object").version() == version.replace("_", ".")
        writer.close()
    else:
        with pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL"):
            await asyncio.open_connection("127.0.0.1", port, ssl=context)


def test_what_is_kept_is_for_its_owner_only(up):
    assert stat.S_IMODE(up.data_dir.stat().st_mode) == 0o700
    kept = [path for path in up.data_dir.rglob("*") if not path.is_dir()]
    assert {"master_key", "ca-key.pem", "envoy.json", "extproc.db"} <= {path.name for path in kept}
    assert [path for path in kept if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    assert len(up.sockets) == 4


def test_the_master_key_is_shown_once_and_strong(up):
    shown = up.out.splitlines()[0].rpartition(": ")[2]

    assert re.fullmatch("sk-[0-9a-f]{64}", shown)
    assert (up.data_dir / "master_key").read_text().strip() == shown
    assert (up.out + up.err).count(shown) == 1


def test_no_key_is_in_the_arguments_or_logs_of_a_child(up, key):
    master = up.master["authorization"].removeprefix("Bearer ")
    for pid in up.children().values():
        assert master not in Path(f"/proc/{pid}/cmdline").read_text()
    assert key not in up.err


def test_a_second_one_on_the_same_data_directory_is_refused(up):
    arguments = ("--data-dir", str(up.data_dir), "--http-port", "0", "--https-port", "1")

    ended = subprocess.run(command(*arguments), env=environment(0), capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert ended.stderr.splitlines()[1:] == [
        f"error: another extproc up (process {up.process.pid}) is using the data directory {up.data_dir}"
    ]


@pytest.mark.parametrize(
    ("name", "title"),
    [("simulate-provider", "the simulated provider"), ("envoy", "Envoy"), ("serve", "the processor")],
)
async def test_a_child_that_dies_is_started_again_and_it_is_said(up: Up, key, name, title):
    before = up.children()

    await up.kill(name)
    await up.says(f"extproc: {title} was ended by SIGKILL; starting it again in 0.2 s\n")
    await up.chat_works(key)

    after = up.children()
    assert after.keys() == before.keys()
    assert {each for each in after if after[each] != before[each]} == {name}
