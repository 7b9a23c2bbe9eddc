"""Real Envoy and the processor: who decides where a request goes, and what happens when nobody does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator

import httpx
import pytest
from envoyconfig.edge import BODY, CHAT, Edge, RecordingServer, TinyProcessor, choose, running_edge
from envoyconfig.renderings import layout_in, settings_for
from running_envoy import free_port, running_envoy

from extproc.envoyconfig import render
from extproc.events import PROCEED, Event, Proceed, Refuse, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.model import Upstream

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
async def shared_edge() -> AsyncIterator[Edge]:
    async with running_edge() as found:
        yield found


@pytest.fixture
def edge(shared_edge: Edge) -> Edge:
    return shared_edge.reset()


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=edge.http, headers=JSON, timeout=30) as found:
        yield found


def error(response: httpx.Response) -> dict[str, str]:
    assert response.headers["content-type"] == "application/json"
    found: dict[str, str] = response.json()["error"]
    assert found["code"] == str(response.status_code)
    return found


def nothing_reached_a_provider(edge: Edge) -> bool:
    return not edge.provider.seen and not edge.tls_provider.seen


async def test_the_processor_chooses_the_provider_when_it_has_the_body(edge, client):
    response = await client.post(CHAT, content=BODY)

    assert response.json() == {"answer": 42}
    # The end of the response's body may come with its last bytes or in a message of its own.
    kinds = list(dict.fromkeys(type(event) for event in edge.processor.events))
    assert kinds == [RequestHeaders, RequestBody, ResponseHeaders, ResponseBody]
    assert [(seen.method, seen.target, seen.body) for seen in edge.provider.seen] == [
        ("POST", "/base/v1/chat/completions", BODY)
    ]
    assert edge.provider.seen[0].headers["host"] == "localhost"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/chat/completions", "/base/v1/chat/completions"),
        ("/engines/gpt-4%20o/chat/completions", "/base/v1/chat/completions"),
        ("/openai/deployments/gpt-4o/chat/completions", "/base/v1/chat/completions"),
        ("/v1/completions", "/base/v1/completions"),
        ("//v1//embeddings", "/base/v1/embeddings"),
    ],
)
async def test_every_path_of_an_api_becomes_the_providers(edge, client, path, target):
    await client.post(httpx.URL(edge.http).copy_with(raw_path=path.encode()), content=BODY)

    assert [seen.target for seen in edge.provider.seen] == [target]


async def test_a_provider_behind_tls_is_verified_and_told_https(edge, client):
    edge.processor.decide = choose("tls_provider")

    response = await client.post(CHAT, content=BODY)

    assert response.status_code == 200
    assert [(seen.target, seen.scheme) for seen in edge.tls_provider.seen] == [("/v1/chat/completions", "https")]


async def test_a_provider_with_another_ones_certificate_is_not_spoken_to(edge, client):
    edge.processor.decide = choose("wrong_name")

    response = await client.post(CHAT, content=BODY)

    assert error(response)["type"] == "service_unavailable"
    assert response.status_code == 503
    assert nothing_reached_a_provider(edge)


async def test_a_provider_that_is_not_there_is_a_503_that_tells_nothing_of_the_inside(edge, client):
    edge.processor.decide = choose("gone")

    response = await client.post(CHAT, content=BODY)

    assert response.status_code == 503
    assert error(response)["message"] == "The service is temporarily unavailable. Please retry."


@pytest.mark.parametrize("header", ["x-extproc-upstream", "X-ExtProc-Upstream"])
async def test_a_client_cannot_choose_a_provider(edge, client, header):
    edge.processor.decide = lambda _: PROCEED

    response = await client.post(CHAT, content=BODY, headers={header: "provider"})

    assert response.status_code == 503
    assert error(response)["type"] == "service_unavailable"
    assert nothing_reached_a_provider(edge)


async def test_a_client_cannot_override_the_processors_choice(edge, client):
    edge.processor.decide = choose("tls_provider")

    await client.post(CHAT, content=BODY, headers=[("x-extproc-upstream", "provider"), *JSON.items()])

    assert len(edge.tls_provider.seen) == 1
    assert not edge.provider.seen


async def test_a_choice_that_does_not_exist_leads_nowhere(edge, client):
    edge.processor.decide = choose("nobody")

    assert (await client.post(CHAT, content=BODY)).status_code == 503
    assert nothing_reached_a_provider(edge)


async def test_a_choice_without_a_new_route_leads_nowhere(edge, client):
    def decide(event: Event):
        return Proceed(((b"x-extproc-upstream", b"provider"),)) if isinstance(event, RequestBody) else PROCEED

    edge.processor.decide = decide

    assert (await client.post(CHAT, content=BODY)).status_code == 503
    assert nothing_reached_a_provider(edge)


async def test_internal_headers_of_clients_reach_nobody(edge, client):
    await client.post(CHAT, content=BODY, headers={"x-extproc-other": "forged"})

    headers = next(event for event in edge.processor.events if isinstance(event, RequestHeaders)).headers
    assert not [name for name, _ in headers if name.startswith(b"x-extproc-")]
    assert not [name for name in edge.provider.seen[0].headers if name.startswith("x-extproc-")]


async def test_the_processor_sees_the_callers_address_and_no_cookies(edge, client):
    await client.post(CHAT, content=BODY, headers={"cookie": "a=b", "x-forwarded-for": "1.2.3.4"})

    event = edge.processor.events[0]
    assert isinstance(event, RequestHeaders)
    assert event.attributes["source.address"].startswith("127.0.0.1:")
    assert b"cookie" not in dict(event.headers)


async def test_a_provider_learns_nothing_of_the_clients_network(edge, client):
    told = {"cookie": "a=b", "x-forwarded-for": "1.2.3.4", "forwarded": "for=1.2.3.4", "via": "1.1 proxy"}

    await client.post(CHAT, content=BODY, headers=told)

    allowed = {"host", "accept", "accept-encoding", "user-agent", "content-type", "content-length", "x-request-id"}
    assert set(edge.provider.seen[0].headers) <= allowed


async def test_what_azures_client_adds_to_a_path_is_dropped(edge, client):
    await client.post(f"{CHAT}?api-version=2024-10-21", content=BODY)

    assert edge.provider.seen[0].target == "/base/v1/chat/completions"


@pytest.mark.parametrize("query", ["key=sk-secret", "api-version=1&key=a", "x", "api%2Dversion=1", "api-version"])
async def test_any_other_query_is_refused_before_the_processor_is_asked(edge, client, query):
    response = await client.post(f"{CHAT}?{query}", content=BODY)

    assert response.status_code == 400
    assert error(response)["param"] == "query"
    assert edge.processor.events == []


async def test_a_refusal_reaches_the_client_as_it_is(edge, client):
    headers = ((b"content-type", b"application/json"), (b"retry-after", b"3"), (b"x-litellm-call-id", b"c"))
    edge.processor.decide = lambda _: Refuse(413, headers, b'{"error":"mine"}', "extproc_malformed_body")

    response = await client.post(CHAT, content=BODY)

    assert response.status_code == 413
    assert response.json() == {"error": "mine"}
    assert response.headers["retry-after"] == "3"
    assert response.headers["x-litellm-call-id"] == "c"


@pytest.mark.parametrize("header", [b"x-forbidden", b":path", b":authority"])
async def test_a_change_that_is_not_allowed_ends_the_request(edge, client, header):
    edge.processor.decide = choose("provider", set_headers=((header, b"/elsewhere"),))

    assert (await client.post(CHAT, content=BODY)).status_code == 503
    assert nothing_reached_a_provider(edge)


async def test_a_new_body_goes_with_a_new_length(edge, client):
    def decide(event: Event):
        if isinstance(event, RequestBody):
            headers = ((b"x-extproc-upstream", b"provider"), (b"content-length", b"4"), (b"authorization", b"Bearer p"))
            return Proceed(headers, (b"x-api-key",), b"12.5", reroute=True)
        return PROCEED

    edge.processor.decide = decide

    await client.post(CHAT, content=BODY, headers={"x-api-key": "sk-client"})

    seen = edge.provider.seen[0]
    assert seen.body == b"12.5"
    assert seen.headers["authorization"] == "Bearer p"
    assert "x-api-key" not in seen.headers


async def test_the_rest_of_a_response_can_be_let_go(edge, client):
    """The override that the codec sends is one of those that the filter allows."""

    def decide(event: Event):
        chosen = choose("provider")(event)
        return Proceed(skip_response_body=True) if isinstance(event, ResponseHeaders) else chosen

    edge.processor.decide = decide

    response = await client.post(CHAT, content=BODY)

    assert response.json() == {"answer": 42}
    assert not [event for event in edge.processor.events if isinstance(event, ResponseBody)]


async def test_what_a_provider_says_of_its_own_host_is_not_passed_on(edge, client):
    edge.provider.headers += [(b"alt-svc", b'h3=":443"'), (b"strict-transport-security", b"max-age=1")]
    edge.provider.headers += [(b"set-cookie", b"a=b"), (b"x-frame-options", b"ALLOWALL"), (b"openai-version", b"v")]

    response = await client.post(CHAT, content=BODY)

    assert not {"alt-svc", "strict-transport-security", "set-cookie"} & set(response.headers)
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["openai-version"] == "v"


async def test_the_access_log_has_neither_query_nor_body_and_joins_by_request_id(edge, client):
    response = await client.post(f"{CHAT}?key=sk-secret", content=BODY)
    request_id = response.headers["x-request-id"]

    line = await edge.envoy.logged(request_id)

    fields = json.loads(line)
    assert fields["path"] == CHAT
    assert fields["details"] == "direct_response"
    assert fields["route"] == "with a query"
    assert "sk-secret" not in edge.envoy.log()


@pytest.mark.parametrize("event", [RequestHeaders, RequestBody])
async def test_a_processor_that_leaves_without_a_verdict_lets_nothing_reach_a_provider(edge, client, event):
    """Envoy takes a clean close for consent; the route table does not."""
    edge.processor.leave_at = event

    response = await client.post(CHAT, content=BODY)

    assert response.status_code == 503
    assert nothing_reached_a_provider(edge)


async def test_a_processor_that_fails_lets_nothing_pass(edge, client):
    def decide(_: Event):
        raise RuntimeError("on purpose")

    edge.processor.decide = decide

    assert (await client.post(CHAT, content=BODY)).status_code == 503
    assert nothing_reached_a_provider(edge)


async def test_nothing_passes_while_the_processor_is_not_there(tmp_path):
    provider = RecordingServer()
    with tempfile.TemporaryDirectory(prefix="edge-") as directory:
        layout = layout_in(directory, http_port=free_port(), https_port=None)
        upstream = Upstream("provider", "http", "localhost", 80, "/v1", f"{directory}/provider.sock")
        async with (
            provider.serving(uds=f"{directory}/provider.sock"),
            running_envoy(render(settings_for(upstream), layout)),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{layout.http_port}", headers=JSON, timeout=30) as client,
        ):
            response = await client.post(CHAT, content=BODY)

    assert response.status_code == 503
    assert error(response)["type"] == "service_unavailable"
    assert provider.seen == []


async def test_a_worker_that_is_gone_is_passed_over():
    """Two endpoints, one of them dead: no request fails."""
    provider, processor = RecordingServer(), TinyProcessor()
    with tempfile.TemporaryDirectory(prefix="edge-") as directory:
        sockets = (f"{directory}/processor-0.sock", f"{directory}/processor-1.sock")
        layout = layout_in(directory, http_port=free_port(), https_port=None, processor_sockets=sockets)
        upstream = Upstream("provider", "http", "localhost", 80, "/v1", f"{directory}/provider.sock")
        async with (
            provider.serving(uds=f"{directory}/provider.sock"),
            processor.serving(sockets[1]),
            running_envoy(render(settings_for(upstream), layout)),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{layout.http_port}", headers=JSON, timeout=30) as client,
        ):
            statuses = [(await client.post(CHAT, content=BODY)).status_code for _ in range(20)]

    assert statuses == [200] * 20
