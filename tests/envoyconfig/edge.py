"""An edge for tests: real Envoy, a real gRPC processor that does as it is told, real HTTP servers behind."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import grpc
import msgspec
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from envoyconfig.renderings import layout_in, settings_for
from grpc import aio
from running_envoy import RunningEnvoy, free_port, running_envoy

from extproc import codec
from extproc.envoyconfig import render
from extproc.events import PROCEED, Event, Proceed, Reply, RequestBody
from extproc.model import Upstream
from extproc.policy.destinations import Destinations, Pattern

CHAT = "/v1/chat/completions"
BODY = b'{"model":"m"}'
MAX_REQUEST_BYTES = 4 * 1024 * 1024


def write_certificate(directory: str) -> None:
    """A self-signed certificate for `localhost` and 127.0.0.1, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    Path(f"{directory}/certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    Path(f"{directory}/private-key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


class TinyProcessor:
    """A processor that asks `decide` for every reply, and remembers what it was told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.decide: Callable[[Event], Reply] = choose("provider")
        #: The event at which it closes the stream cleanly and says nothing.
        self.leave_at: type[Event] | None = None

    async def process(self, _: object, context: Any) -> None:
        while (message := await context.read()) is not aio.EOF:
            event = codec.decode(message)
            self.events.append(event)
            if type(event) is self.leave_at:
                return
            await context.write(codec.encode(event, self.decide(event)))

    @asynccontextmanager
    async def serving(self, path: str) -> AsyncIterator[None]:
        server = aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        handler = grpc.stream_stream_rpc_method_handler(self.process)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(codec.SERVICE, {codec.METHOD: handler}),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        try:
            yield
        finally:
            await server.stop(0)


def choose(upstream: str, *, set_headers: tuple[tuple[bytes, bytes], ...] = ()) -> Callable[[Event], Reply]:
    """Let everything pass, and send it to `upstream`."""

    def decide(event: Event) -> Reply:
        if isinstance(event, RequestBody):
            return Proceed(((b"x-extproc-upstream", upstream.encode()), *set_headers), reroute=True)
        return PROCEED

    return decide


class Seen(msgspec.Struct):
    """One request as a server behind Envoy got it."""

    method: str
    target: str
    scheme: str
    headers: dict[str, str]
    body: bytes


class RecordingServer:
    """An HTTP server that remembers requests and answers each with `headers` and `body`."""

    def __init__(self, body: bytes = b'{"answer":42}') -> None:
        self.seen: list[Seen] = []
        self.headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]
        self.body = body

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        target = scope["raw_path"].decode() + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append(Seen(scope["method"], target, scope["scheme"], headers, body))
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})

    @asynccontextmanager
    async def serving(self, **where: Any) -> AsyncIterator[None]:
        config = uvicorn.Config(self, log_config=None, lifespan="off", **where)
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        task = asyncio.create_task(server._serve())
        while not server.started:
            assert not task.done()
            await asyncio.sleep(0.01)
        try:
            yield
        finally:
            server.should_exit = True
            await task


class Edge(msgspec.Struct):
    """Everything that runs, and where."""

    envoy: RunningEnvoy
    processor: TinyProcessor
    provider: RecordingServer
    tls_provider: RecordingServer
    tls_port: int
    management: RecordingServer
    http: str
    https: str
    certificate: str

    def reset(self) -> Self:
        """Nothing remembered, nothing told."""
        self.processor.events.clear()
        self.processor.decide, self.processor.leave_at = choose("provider"), None
        for server in (self.provider, self.tls_provider, self.management):
            server.seen.clear()
            server.headers = [(b"content-type", b"application/json")]
        return self


@asynccontextmanager
async def running_edge() -> AsyncIterator[Edge]:
    """Envoy with two listeners, two providers, two that cannot be reached, a processor and a management API."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="edge-"))
        write_certificate(directory)
        provider_port, http_port, https_port = free_port(), free_port(), free_port()
        processor, management = TinyProcessor(), RecordingServer(b'{"who":"management"}')
        provider, tls_provider = RecordingServer(), RecordingServer()
        certificate = f"{directory}/certificate.pem"
        layout = layout_in(
            directory,
            http_port=http_port,
            https_port=https_port,
            https_address="127.0.0.1",
            ca_bundle=certificate,
        )
        settings = settings_for(
            Upstream("provider", "http", "localhost", 80, "/base/v1", f"{directory}/provider.sock"),
            Upstream("tls_provider", "https", "localhost", provider_port, "/v1"),
            Upstream("wrong_name", "https", "127.0.0.2", provider_port, "/v1"),
            Upstream("gone", "http", "127.0.0.1", free_port(), "/v1"),
            max_request_bytes=MAX_REQUEST_BYTES,
            stored_model_hosts=Destinations((Pattern("https"), Pattern("http"))),
        )
        await stack.enter_async_context(processor.serving(layout.processor_sockets[0]))
        await stack.enter_async_context(management.serving(uds=layout.management_socket))
        await stack.enter_async_context(provider.serving(uds=f"{directory}/provider.sock"))
        await stack.enter_async_context(
            tls_provider.serving(
                host="0.0.0.0",
                port=provider_port,
                ssl_certfile=layout.certificate,
                ssl_keyfile=layout.private_key,
            )
        )
        envoy = await stack.enter_async_context(
            running_envoy(render(settings, layout), "--file-flush-interval-msec", "50")
        )
        yield Edge(
            envoy=envoy,
            processor=processor,
            provider=provider,
            tls_provider=tls_provider,
            tls_port=provider_port,
            management=management,
            http=f"http://127.0.0.1:{http_port}",
            https=f"https://localhost:{https_port}",
            certificate=certificate,
        )
