"""On real Envoy: texts that others are asked about, and texts that come encrypted; the documented client itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from cryptography.fernet import Fernet
from gateway.redacting import EMAIL, MASKED, answers, pieces, sdk, streams
from gateway.running_gateway import CHAT, Gateway, bearer, running_gateway
from inspection.presidio_server import Presidio, finds, presidio

from extproc.guardrails import Configured, Consulted, Selectors
from extproc.model import SecretRef
from extproc.payload_keys import PayloadKey
from extproc.redaction import Action, Policy

DOCUMENT = Path(__file__).parents[2] / "docs" / "payload-encryption.md"
SECRET = Fernet.generate_key()
CIPHER = Fernet(SECRET)
MASK = {"PERSON": Action.MASK}
BOB = "My name is Bob."


@pytest.fixture(scope="module")
async def analyzer() -> AsyncIterator[Presidio]:
    async with presidio() as found:
        yield found


@pytest.fixture(scope="module")
async def asking(nursery, upstream, analyzer, tmp_path_factory) -> AsyncIterator[Gateway]:
    file = tmp_path_factory.mktemp("keys") / "fernet"
    file.write_bytes(SECRET)
    missing = PayloadKey(SecretRef("file", str(file) + "-gone"), Selectors(keys=("keyless",)))
    emails = Policy(request={"EMAIL_ADDRESS": Action.MASK}, guards=True)

    def names(name: str, **consulted: Any) -> Configured:
        return Configured(name, emails, Action.BLOCK, analyzer=analyzer.base, consulted=Consulted(**consulted))

    settings: dict[str, Any] = {
        "guardrails": (
            names("names", request=MASK),
            names("names-both", request=MASK, response=MASK),
            names("names-streaming", response=MASK, streams_pass=True),
            Configured("mail", emails, Action.BLOCK),
        ),
        "payload_encryption": (missing, PayloadKey(SecretRef("file", str(file)), Selectors(keys=("sealed*",)))),
        "failed_login_attempts": 0,
    }
    async with running_gateway(nursery, upstream, **settings) as found:
        await found.start_server()
        yield found


@pytest.fixture
async def client_of(asking) -> AsyncIterator[Any]:
    """Gives a client with a key of its own."""
    async with contextlib.AsyncExitStack() as stack:

        async def client(**fields: Any) -> openai.AsyncOpenAI:
            return await stack.enter_async_context(sdk(asking, await asking.new_key(**fields)))

        yield client


def user(content: str) -> Any:
    return [{"role": "user", "content": content}]


async def streamed(client: openai.AsyncOpenAI, model: str, content: str) -> list[str]:
    stream = await client.chat.completions.create(model=model, messages=user(content), stream=True)
    return [text async for chunk in stream for choice in chunk.choices if (text := choice.delta.content)]


async def test_a_name_does_not_leave_and_is_put_back_whole_or_streamed(client_of, upstream):
    seen: list[Any] = []
    model = upstream.plays("names", answers({"content": "Hello <PERSON_1>, <EMAIL_ADDRESS_1>!"}, seen=seen))
    flowing = upstream.plays(
        "names-flow", streams(*({"content": one} for one in pieces("Hello <PERSON_1>!")), seen=seen)
    )
    client = await client_of(guardrails=["names"])

    whole = await client.chat.completions.create(model=model, messages=user(f"{BOB} {EMAIL}"))
    flowed = await streamed(client, flowing, BOB)

    assert [one["messages"][0]["content"] for one in seen] == [
        f"My name is <PERSON_1>. {MASKED}",
        "My name is <PERSON_1>.",
    ]
    assert whole.choices[0].message.content == f"Hello Bob, {EMAIL}!"
    assert "".join(flowed) == "Hello Bob!"


async def test_a_name_in_an_answer_is_masked_and_such_an_answer_may_not_be_a_stream(client_of, upstream):
    model = upstream.plays("names-back", answers({"content": "Ask Bob."}))
    client = await client_of(guardrails=["names-both"])

    whole = await client.chat.completions.create(model=model, messages=user("whom?"))
    with pytest.raises(openai.BadRequestError, match="can only check whole answers"):
        await streamed(client, model, "whom?")

    assert whole.choices[0].message.content == "Ask <PERSON_1>."


async def test_streams_pass_unasked_about_where_that_is_said(client_of, upstream):
    model = upstream.plays("names-through", streams({"content": "Ask Bob."}))

    assert await streamed(await client_of(guardrails=["names-streaming"]), model, "whom?") == ["Ask Bob."]


async def test_an_analyzer_that_is_broken_lets_nothing_pass_and_one_that_recovers_does(client_of, upstream, analyzer):
    seen: list[Any] = []
    model = upstream.plays("names-broken", answers({"content": "Bob"}, seen=seen))
    client = await client_of(guardrails=["names"])
    analyzer.answer = lambda _: b"nonsense"
    try:
        with pytest.raises(openai.InternalServerError, match="is not available"):
            await client.chat.completions.create(model=model, messages=user(BOB))
    finally:
        analyzer.answer = finds("Bob")

    assert seen == []
    await client.chat.completions.create(model=model, messages=user(BOB))
    assert len(seen) == 1


async def test_the_management_api_tries_a_guardrail_with_all_it_asks(asking):
    wanted = {"guardrail_name": "names", "text": f"{BOB} {EMAIL}"}

    response = await asking.admin.post("/guardrails/apply_guardrail", json=wanted)

    assert response.json() == {"response_text": f"My name is <PERSON_1>. {MASKED}"}


async def test_the_documented_client_speaks_in_tokens_and_the_provider_in_texts(asking, upstream):
    """Run as it stands in the document, in a process of its own."""
    [program] = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    seen: list[Any] = []
    whole, flowing = (
        answers({"content": "Understood."}, seen=seen),
        streams({"content": "Under"}, {"content": "stood."}, seen=seen, pause=0.005),
    )

    async def script(asked, answering):
        await (flowing if asked.document.get("stream") else whole)(asked, answering)

    environment = {
        "FRONTEND_FERNET_KEY": SECRET.decode(),
        "GATEWAY_URL": asking.http,
        "GATEWAY_KEY": await asking.new_key(key_alias="sealed-client"),
        "MODEL": upstream.plays("sealed", script),
    }

    process = await _run(program, environment)

    assert process == "Understood.\nUnderstood."
    assert [one["messages"][0]["content"] for one in seen] == ["Confidential information"] * 2


async def _run(program: str, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_nothing_but_tokens_crosses_the_wire_and_guardrails_see_the_texts(asking, upstream):
    seen: list[Any] = []
    model = upstream.plays("sealed-mail", answers({"content": f"Written to {MASKED}."}, seen=seen))
    key = await asking.new_key(key_alias="sealed-mail", guardrails=["mail"])
    body = {"model": model, "messages": user(CIPHER.encrypt(f"Write to {EMAIL}".encode()).decode())}

    async with httpx.AsyncClient(base_url=asking.http, headers=bearer(key), timeout=30) as client:
        response = await client.post(CHAT, json=body)

    assert response.status_code == 200, response.text
    assert seen[0]["messages"][0]["content"] == f"Write to {MASKED}"
    assert EMAIL not in response.text
    assert "Written" not in response.text
    assert CIPHER.decrypt(response.json()["choices"][0]["message"]["content"]).decode() == f"Written to {EMAIL}."
    row = await asking.only_row(response.headers["x-litellm-call-id"])
    assert (row["status"], row["prompt_tokens"]) == ("success", 19)


async def test_a_token_that_does_not_open_is_a_400_and_nothing_leaves(client_of, upstream):
    seen: list[Any] = []
    model = upstream.plays("sealed-wrong", answers({"content": "x"}, seen=seen))
    client = await client_of(key_alias="sealed-wrong")
    wrong = Fernet(Fernet.generate_key()).encrypt(b"x").decode()

    with pytest.raises(openai.BadRequestError, match="cannot be decrypted"):
        await client.chat.completions.create(model=model, messages=user(wrong))

    assert seen == []


@pytest.mark.parametrize(
    ("alias", "content"), [("sealed-plain", "plain"), ("open", CIPHER.encrypt(b"x").decode())], ids=["plain", "sealed"]
)
async def test_what_is_not_to_be_opened_passes_untouched(client_of, upstream, alias, content):
    seen: list[Any] = []
    model = upstream.plays(f"untouched-{alias}", answers({"content": "ok"}, seen=seen))
    client = await client_of(key_alias=alias)

    answer = await client.chat.completions.create(model=model, messages=user(content))

    assert (seen[0]["messages"][0]["content"], answer.choices[0].message.content) == (content, "ok")


async def test_without_the_key_such_requests_are_refused(client_of, upstream):
    model = upstream.plays("keyless", answers({"content": "x"}))
    client = await client_of(key_alias="keyless")

    with pytest.raises(openai.InternalServerError) as refused:
        await client.chat.completions.create(model=model, messages=user(CIPHER.encrypt(b"x").decode()))

    assert refused.value.status_code == 503
    assert "fernet" not in json.dumps(refused.value.body)
