"""One exchange: one HTTP request and its response, from Envoy's first message to the receipt.

The only place where policy meets stores. It asks the outside world two awaited questions, "whose key is this?" and "is
this receipt on disk?"; everything else it does is to hand facts to pure functions and their verdicts back.

What may follow what is the table `_STEPS`; the asserts repeat for the type checker what it guarantees. Envoy's own
replies (413, 503, a rejection by an earlier filter) come through the response path too, in the last case without any
request message; such a response passes untouched. A provider's response is passed on, but never its last byte before
the receipt is durable: whoever holds a complete answer finds its row in the ledger, whatever crashes. An exchange that
ends without its end having been seen is billed for what was seen, marked `estimated` and `cut`; a hang-up, an upstream
reset and a crash of Envoy look the same from here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Any

import msgspec

from extproc.bodies import request, response
from extproc.errors import MalformedBody, ProtocolError, SecretUnavailable, StoreUnavailable
from extproc.events import (
    PROCEED,
    Event,
    Header,
    Proceed,
    Refuse,
    Reply,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)
from extproc.model import Deployment, Key, Nanos, Outcome, Receipt, UnixMs, Usage
from extproc.policy import access, credentials, hygiene, refusals
from extproc.policy.credentials import Credential
from extproc.policy.refusals import Refusal
from extproc.policy.routing import Route, Routes
from extproc.providers import registry
from extproc.providers.api import Api, RequestFacts
from extproc.stores.contract import KeyStore, ReceiptSink


class Phase(Enum):
    """How far an exchange has come."""

    OPEN = auto()
    AUTHENTICATED = auto()
    FORWARDED = auto()
    RESPONDING = auto()
    OVER = auto()


class Surroundings(msgspec.Struct, frozen=True):
    """What every exchange of this process shares; an immutable snapshot, so that a reload swaps all of it at once.

    `credential` gives the provider's header, `None` for a provider without one, and raises `SecretUnavailable`.
    `price` gives the spend, `None` where no price is known: its arguments are the deployment, the model asked for at
    the provider, the model that answered (may be empty), the usage, and the moment. `event_id` makes an id of a moment.
    """

    keys: KeyStore
    receipts: ReceiptSink
    routes: Routes
    master_digest: str
    credential: Callable[[Deployment], Header | None]
    price: Callable[[Deployment, str, str, Usage, UnixMs], Nanos | None]
    now: Callable[[], UnixMs]
    event_id: Callable[[UnixMs], str]
    block_unpriced_models: bool
    max_response_bytes: int
    log_requester_ip: bool


class Exchange:
    """Feed it events with `receive`, send what it replies, and call `close` exactly once, whatever happens."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.phase = Phase.OPEN
        self._started_at = surroundings.now()
        self.event_id = surroundings.event_id(self._started_at)
        self._call_id = self.event_id
        self._path = ""
        self._path_model: str | None = None
        self._api: Api | None = None
        self._headers: tuple[Header, ...] = ()
        self._requester_ip = ""
        self._user_agent = ""
        self._header_tags: tuple[str, ...] = ()
        self._key: Key | None = None
        self._facts: RequestFacts | None = None
        self._prompt: request.Prompt | None = None
        self._route: Route | None = None
        self._status = 0
        self._body: response.ResponseBody | None = None
        self._first_byte_at: UnixMs | None = None
        self._refusal: Refusal | None = None
        self._receipt: Receipt | None = None

    @property
    def decided(self) -> bool:
        """Whether a clean close of the RPC is safe: before a verdict it would let the request pass."""
        return self.phase not in {Phase.OPEN, Phase.AUTHENTICATED}

    @property
    def over(self) -> bool:
        """Whether Envoy has nothing more to ask."""
        return self.phase is Phase.OVER

    async def receive(self, event: Event) -> Reply:
        """The reply to one event. Raises `ProtocolError` where the phase does not allow the event."""
        step = _STEPS.get((self.phase, type(event)))
        if step is None:
            raise ProtocolError(f"{type(event).__name__} while {self.phase.name}")
        return await step(self, event)

    def close(self) -> Outcome:
        """The exchange is over, completely or not. Synchronous, so that it works in a cancelled task."""
        if self.phase in {Phase.FORWARDED, Phase.RESPONDING} and self._receipt is None:
            if self._body is not None:
                self._body.flush()
            self._book(cut=True)
        self.phase = Phase.OVER
        refusal = self._refusal
        return Outcome(
            event_id=self.event_id,
            call_id=self._call_id,
            path=self._path,
            started_at=self._started_at,
            ended_at=self._surroundings.now(),
            status=refusal.status if refusal else self._status,
            reason=refusal.reason if refusal else "",
            model_group=self._facts.model if self._facts else "",
            key=self._key,
            receipt=self._receipt,
        )

    # -- the request ---------------------------------------------------------------------------------------------------

    async def _on_request_headers(self, event: RequestHeaders) -> Reply:
        self._read_headers(event)
        found = registry.find(self._path)
        if found is None:
            return self._refuse(refusals.UNKNOWN_ROUTE)
        self._api, self._path_model = found
        credential = credentials.read(event.headers)
        if isinstance(credential, Refusal):
            return self._refuse(credential)
        try:
            key = await self._owner(credential)
        except StoreUnavailable:
            return self._refuse(refusals.STORE_UNAVAILABLE)
        refusal = self._admission(key, event)
        if refusal is not None:
            return self._refuse(refusal)
        self.phase = Phase.AUTHENTICATED
        return PROCEED

    async def _owner(self, credential: Credential) -> Key | None:
        if credentials.is_master(credential, self._surroundings.master_digest):
            return credentials.MASTER_KEY
        return await self._surroundings.keys.find(credential.digest)

    def _admission(self, key: Key | None, event: RequestHeaders) -> Refusal | None:
        """Everything that can be told before the body is read, the cheapest first."""
        if key is None:
            return refusals.UNKNOWN_KEY
        self._key = key
        if refusal := access.check_key(key, self._started_at):
            return refusal
        if not self._surroundings.receipts.accepting:
            return refusals.OUTBOX_FULL
        if event.end_of_stream:
            return refusals.EMPTY_BODY
        return hygiene.check_headers(event.headers)

    async def _on_request_body(self, event: RequestBody) -> Reply:
        assert self._api is not None
        assert self._key is not None
        try:
            body = request.read(self._api, event.body, self._path_model)
        except MalformedBody as error:
            return self._refuse(refusals.malformed_body(error.message, error.param, error.status))
        self._facts, self._prompt = body.facts, body.prompt
        admitted = self._route_for(self._key, body.facts)
        if isinstance(admitted, Refusal):
            return self._refuse(admitted)
        self._route, credential = admitted
        forwarded = body.forward(
            self._route.provider_model, ask_usage=_knows_stream_options(self._route.deployment.provider)
        )
        set_headers, removed = hygiene.upstream_headers(
            self._headers, credential, self._route.deployment.upstream.name, len(forwarded)
        )
        self.phase = Phase.FORWARDED
        return Proceed(set_headers, removed, forwarded, reroute=True)

    def _route_for(self, key: Key, facts: RequestFacts) -> tuple[Route, Header | None] | Refusal:
        """The deployment that serves the request with the credential it wants, or why there is none."""
        if not access.allows_model(key, facts.model):
            return refusals.model_not_allowed(facts.model)
        route = self._surroundings.routes.choose(facts.model, self.event_id)
        if route is None:
            return refusals.unknown_model(facts.model, self._path)
        if self._surroundings.block_unpriced_models and self._price(route, "", Usage()) is None:
            return refusals.UNPRICED_MODEL
        try:
            return route, self._surroundings.credential(route.deployment)
        except SecretUnavailable:
            return refusals.PROVIDER_CREDENTIAL_MISSING

    # -- the response --------------------------------------------------------------------------------------------------

    async def _on_response_headers(self, event: ResponseHeaders) -> Reply:
        assert self._route is not None
        assert self._facts is not None
        assert self._key is not None
        headers = dict(event.headers)
        self._status = int(headers.get(b":status", b"0"))
        self.phase = Phase.RESPONDING
        if self._status in {401, 403}:
            self._fail()
            return self._refuse(refusals.PROVIDER_CREDENTIAL_REFUSED)
        set_headers, removed = hygiene.downstream_headers(
            event.headers, self._call_id, self._route.deployment, self._facts.model, self._key
        )
        if self._status >= 300:
            self._fail()
        elif event.end_of_stream:
            self._body = response.OpaqueBody()
            await self._complete()
        else:
            self._body = self._choose_body(headers)
        return Proceed(set_headers, removed, skip_response_body=self.over)

    def _choose_body(self, headers: Mapping[bytes, bytes]) -> response.ResponseBody:
        assert self._api is not None
        assert self._facts is not None
        if headers.get(b"content-encoding", b"identity") != b"identity":
            return response.OpaqueBody()
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind == b"text/event-stream":
            return response.EventStreamBody(self._api, hide_usage=not self._facts.wants_usage)
        if kind == b"application/json":
            return response.PlainBody(self._api, self._surroundings.max_response_bytes)
        return response.OpaqueBody()

    async def _on_response_body(self, event: ResponseBody) -> Reply:
        body = self._body
        if body is None:
            raise ProtocolError("a response body before its headers")
        if self._first_byte_at is None:
            self._first_byte_at = self._surroundings.now()
        passed = body.feed(event.body) if event.body else None
        if event.end_of_stream:
            held = body.flush()
            if held:
                passed = (event.body if passed is None else passed) + held
        if body.finished:
            await self._complete()
        if event.end_of_stream:
            self.phase = Phase.OVER
        return PROCEED if passed is None else Proceed(body=passed)

    async def _on_response_trailers(self, _: ResponseTrailers) -> Reply:
        """The end of a response that has trailers; its last body message did not say so."""
        if self._body is not None:
            self._body.flush()
            await self._complete()
        self.phase = Phase.OVER
        return PROCEED

    async def _on_local_response(self, event: ResponseHeaders) -> Reply:
        """Envoy answers the client itself: before it asked us anything, or while the request was still on its way."""
        self._status = int(dict(event.headers).get(b":status", b"0"))
        self.phase = Phase.OVER
        return PROCEED

    async def _pass_on(self, _: Event) -> Reply:
        return PROCEED

    # -- the end -------------------------------------------------------------------------------------------------------

    def _refuse(self, refusal: Refusal) -> Refuse:
        self._refusal = refusal
        self.phase = Phase.OVER
        api = self._api
        body = (
            api.error_body(refusal.message, refusal.kind, refusal.param, refusal.status)
            if api
            else refusals.envelope(refusal)
        )
        headers = (*hygiene.refusal_headers(self._call_id), *refusal.headers)
        return Refuse(refusal.status, headers, body, f"extproc_{refusal.reason}")

    async def _complete(self) -> None:
        """Book a complete response, once, and wait until the receipt is durable."""
        if self._receipt is None:
            await self._book(cut=False)

    def _fail(self) -> None:
        """Book a response that the provider does not charge for; nothing is lost with it, so nobody waits for it."""
        self._file(Usage(), 0, estimated=False, cut=False)
        self.phase = Phase.OVER

    def _book(self, *, cut: bool) -> Awaitable[None]:
        assert self._route is not None
        body = self._body
        estimated = body is None or body.usage is None
        usage = self._estimate() if body is None or body.usage is None else body.usage
        spend = self._price(self._route, body.model if body else "", usage)
        return self._file(usage, spend, estimated=estimated, cut=cut)

    def _estimate(self) -> Usage:
        prompt = self._prompt.tokens() if self._prompt else 0
        return Usage(input_tokens=prompt, output_tokens=self._body.seen_tokens() if self._body else 0)

    def _price(self, route: Route, answered: str, usage: Usage) -> Nanos | None:
        return self._surroundings.price(route.deployment, route.provider_model, answered, usage, self._started_at)

    def _file(self, usage: Usage, spend: Nanos | None, *, estimated: bool, cut: bool) -> Awaitable[None]:
        self._receipt = self._write_receipt(usage, spend, estimated=estimated, cut=cut)
        return self._surroundings.receipts.put(self._receipt)

    def _write_receipt(self, usage: Usage, spend: Nanos | None, *, estimated: bool, cut: bool) -> Receipt:
        assert self._route is not None
        assert self._facts is not None
        assert self._key is not None
        assert self._api is not None
        deployment, facts, key, body = self._route.deployment, self._facts, self._key, self._body
        return Receipt(
            event_id=self.event_id,
            call_id=self._call_id,
            key_digest=key.digest,
            started_at=self._started_at,
            ended_at=self._surroundings.now(),
            operation=self._api.OPERATION,
            path=self._path,
            model_group=facts.model,
            model=(body.model if body else "") or self._route.provider_model,
            model_id=deployment.id,
            provider=deployment.provider,
            api_base=deployment.api_base,
            http_status=self._status,
            status="success" if 200 <= self._status < 300 else "failure",
            stream=facts.stream,
            usage=usage,
            spend=spend,
            estimated=estimated,
            cut=cut,
            provider_response_id=body.response_id if body else "",
            first_byte_at=self._first_byte_at,
            key_alias=key.alias,
            user_id=key.user_id,
            team_id=key.team_id,
            organization_id=key.organization_id,
            end_user=facts.end_user,
            requester_ip=self._requester_ip,
            user_agent=self._user_agent,
            tags=(*self._header_tags, *facts.tags),
        )

    def _read_headers(self, event: RequestHeaders) -> None:
        self._headers = event.headers
        headers = dict(event.headers)
        self._path = headers.get(b":path", b"").partition(b"?")[0].decode("ascii", "replace")
        self._call_id = hygiene.printable(headers.get(b"x-request-id", b"").decode("ascii", "replace")).decode() or (
            self.event_id
        )
        self._user_agent = headers.get(b"user-agent", b"").decode("utf-8", "replace")[:256]
        self._header_tags = hygiene.tags(headers.get(b"x-litellm-tags", b""))
        if self._surroundings.log_requester_ip:
            self._requester_ip = event.attributes.get("source.address", "").rpartition(":")[0]


def _knows_stream_options(provider: str) -> bool:
    host = registry.HOSTS.get(provider)
    return host is None or host.stream_options


Step = Callable[[Exchange, Any], Awaitable[Reply]]

#: What may follow what, and what is done then. Anything else is Envoy misbehaving.
_STEPS: dict[tuple[Phase, type[Event]], Step] = {
    (Phase.OPEN, RequestHeaders): Exchange._on_request_headers,
    (Phase.OPEN, ResponseHeaders): Exchange._on_local_response,
    (Phase.AUTHENTICATED, RequestBody): Exchange._on_request_body,
    (Phase.AUTHENTICATED, ResponseHeaders): Exchange._on_local_response,
    (Phase.FORWARDED, RequestTrailers): Exchange._pass_on,
    (Phase.FORWARDED, ResponseHeaders): Exchange._on_response_headers,
    (Phase.RESPONDING, ResponseBody): Exchange._on_response_body,
    (Phase.RESPONDING, ResponseTrailers): Exchange._on_response_trailers,
    (Phase.OVER, ResponseHeaders): Exchange._pass_on,
    (Phase.OVER, ResponseBody): Exchange._pass_on,
    (Phase.OVER, ResponseTrailers): Exchange._pass_on,
}
