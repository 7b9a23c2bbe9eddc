"""One exchange: one HTTP request and its response, from Envoy's first message to the receipt.

The only place where policy meets stores. It asks the outside world three awaited questions, "whose key is this?", "is
there room in its limits?" and "is this receipt on disk?"; everything else it does is to hand facts to pure functions
and their verdicts back.

What may follow what is the table `_STEPS`; the asserts repeat for the type checker what it guarantees. Envoy's own
replies (413, 503, a rejection by an earlier filter) come through the response path too, in the last case without any
request message; such a response passes untouched. A provider's response is passed on, but never its last byte before
the receipt is durable: whoever holds a complete answer finds its row in the ledger, whatever crashes. An exchange that
ends without its end having been seen is billed for what was seen, marked `estimated` and `cut`; a hang-up, an upstream
reset and a crash of Envoy look the same from here.

A stream whose budget is gone is told so in its own words, as an event, and then ended: the next message finds
`StreamEnded`, which makes Envoy reset both sides, so that the provider stops generating what nobody will pay for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import IntEnum, auto
from typing import Any

import msgspec

from extproc import admission, guardrails
from extproc.admission import Surroundings
from extproc.admitted import Admitted, Client
from extproc.bodies import redacted, request, response
from extproc.bodies.content import Content
from extproc.bodies.redaction import Redaction
from extproc.errors import Blocked, MalformedBody, ProtocolError, RedactionFailed, StreamEnded
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
from extproc.model import Key, Nanos, Outcome, Receipt, UnixMs, Usage
from extproc.policy import hygiene, refusals
from extproc.policy.refusals import Refusal
from extproc.providers import registry
from extproc.providers.api import Api, RequestFacts
from extproc.reservation import Reservation

__all__ = ["Exchange", "Phase", "Surroundings"]


class Phase(IntEnum):
    """How far an exchange has come. Numbers, because a phase is looked up for each message and others hash slowly."""

    OPEN = auto()
    AUTHENTICATED = auto()
    FORWARDED = auto()
    RESPONDING = auto()
    ENDING = auto()
    OVER = auto()


class Exchange:
    """Feed it events with `receive`, send what it replies, and call `close` exactly once, whatever happens."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.phase = Phase.OPEN
        self._started_at = surroundings.now()
        self.event_id = surroundings.event_id(self._started_at)
        self._client = Client(self.event_id, "", "", "", ())
        self._path_model: str | None = None
        self._api: Api | None = None
        self._headers: tuple[Header, ...] = ()
        self._key: Key | None = None
        self._facts: RequestFacts | None = None
        self._admitted: Admitted | None = None
        self._reservation: Reservation | None = None
        self._status = 0
        self._body: response.ResponseBody | None = None
        self._sealed: response.ResponseBody | None = None
        self._is_held = False
        self._first_byte_at: UnixMs | None = None
        self._refusal: Refusal | None = None
        self._receipt: Receipt | None = None
        self._content: Content | None = None

    @property
    def decided(self) -> bool:
        """Whether a clean close of the RPC is safe: before a verdict it would let the request pass."""
        return self.phase > Phase.AUTHENTICATED

    @property
    def over(self) -> bool:
        """Whether Envoy has nothing more to ask."""
        return self.phase is Phase.OVER

    def receive(self, event: Event) -> Awaitable[Reply]:
        """The reply to one event. Raises `ProtocolError` where the phase does not allow the event."""
        step = _STEPS.get((self.phase, type(event)))
        if step is None:
            raise ProtocolError(f"{type(event).__name__} while {self.phase.name}")
        return step(self, event)

    def close(self) -> Outcome:
        """The exchange is over, completely or not. Synchronous, so that it works in a cancelled task."""
        if self.phase in {Phase.FORWARDED, Phase.RESPONDING} and self._receipt is None:
            if self._body is not None:
                self._body.cut()
            self._book(cut=True)
        self.phase = Phase.OVER
        refusal, held = self._refusal, self._reservation
        searched = self._admitted.redaction if self._admitted else None
        if held is not None and self._receipt is None:
            held.withdraw()
        return Outcome(
            event_id=self.event_id,
            call_id=self._client.call_id,
            path=self._client.path,
            started_at=self._started_at,
            ended_at=self._surroundings.now(),
            status=refusal.status if refusal else self._status,
            reason=refusal.reason if refusal else "",
            model_group=self._facts.model if self._facts else "",
            key=self._key,
            receipt=self._receipt,
            explanation=refusal.explanation if refusal else None,
            over=tuple(f"{limit.scope.kind}:{limit.setting}" for limit in held.over) if held else (),
            outage=held is not None and held.alone,
            redactions=dict(searched.found) if searched else refusal.found if refusal else {},
            unsearched=searched.unsearched if searched else "",
        )

    # -- the request ---------------------------------------------------------------------------------------------------

    async def _on_request_headers(self, event: RequestHeaders) -> Reply:
        self._headers = event.headers
        self._client = admission.client(self._surroundings, event, self.event_id)
        found = registry.find(self._client.path)
        if found is None:
            return self._refuse(refusals.UNKNOWN_ROUTE)
        self._api, self._path_model = found
        verdict = await admission.whose(self._surroundings, event, self._started_at)
        self._key = verdict.key
        if verdict.refusal is not None:
            return self._refuse(verdict.refusal)
        self.phase = Phase.AUTHENTICATED
        return PROCEED

    async def _on_request_body(self, event: RequestBody) -> Reply:
        assert self._api is not None
        assert self._key is not None
        try:
            body = request.read(self._api, event.body, self._path_model)
        except MalformedBody as error:
            return self._refuse(refusals.malformed_body(error.message, error.param, error.status))
        self._facts = body.facts
        request_of = admission.Request(self.event_id, self._started_at, self._client, self._key, body)
        admitted = await admission.admit(self._surroundings, request_of)
        if isinstance(admitted, Refusal):
            return self._refuse(admitted)
        self._admitted, self._reservation, credential = admitted
        route = self._admitted.route
        forwarded = body.forward(route.provider_model, ask_usage=_knows_stream_options(route.deployment.provider))
        if self._admitted.is_stored:
            self._content = Content(self._api, forwarded, self._admitted.redaction)
        set_headers, removed = hygiene.upstream_headers(
            self._headers,
            credential,
            route.deployment.upstream.name,
            len(forwarded),
            self._surroundings.mapped_headers,
            registry.usual_headers(route.deployment.provider),
        )
        self.phase = Phase.FORWARDED
        set_headers += self._surroundings.way(route.deployment.upstream)
        return Proceed(set_headers, removed, forwarded, reroute=True)

    # -- the response --------------------------------------------------------------------------------------------------

    async def _on_response_headers(self, event: ResponseHeaders) -> Reply:
        admitted = self._admitted
        assert admitted is not None
        reply = await self._read_response_headers(admitted, event)
        if admitted.sealing is not None and isinstance(reply, Proceed) and self._status < 300 and not self.over:
            limit = self._surroundings.max_response_bytes
            self._sealed, reply = admitted.sealing.begin(admitted.api, dict(event.headers), limit, reply)
        self._is_held = isinstance(reply, Proceed) and reply.buffer_response_body
        return reply

    async def _read_response_headers(self, admitted: Admitted, event: ResponseHeaders) -> Reply:
        headers = dict(event.headers)
        self._status = int(headers.get(b":status", b"0"))
        self.phase = Phase.RESPONDING
        if (refusal := refusals.of_provider(self._status)) is not None:
            self._fail()
            return self._refuse(refusal)
        set_headers, removed = hygiene.downstream_headers(
            event.headers, self._client.call_id, admitted.route.deployment, admitted.facts.model, admitted.key
        )
        if admitted.redaction is not None:
            set_headers += hygiene.redaction_headers(admitted.redaction.found, admitted.redaction.unsearched)
        if self._reservation is not None:
            set_headers += hygiene.limit_headers(self._reservation.left, alone=self._reservation.alone)
        if self._content is not None and self._status < 300:
            self._content.begin(headers)
        if admitted.redaction is not None and admitted.redaction.reads_answers and not event.end_of_stream:
            return self._read_answer(admitted.redaction, headers, set_headers, removed)
        if self._status >= 300:
            self._fail()
        elif event.end_of_stream:
            self._body = response.OpaqueBody()
            await self._complete()
        else:
            hidden = not admitted.facts.wants_usage
            self._body = response.body(admitted.api, headers, self._surroundings.max_response_bytes, hide_usage=hidden)
        return Proceed(set_headers, removed, skip_response_body=self.over)

    def _read_answer(
        self,
        redaction: Redaction,
        headers: Mapping[bytes, bytes],
        set_headers: tuple[Header, ...],
        removed: tuple[bytes, ...],
    ) -> Reply:
        """A body whose texts are rewritten: a stream as it comes, anything else when it is whole."""
        assert self._admitted is not None
        if self._status >= 300:
            self._fail()
            self.phase = Phase.RESPONDING
        self._body = redacted.body(
            self._admitted.api,
            redaction,
            headers,
            failed=self._status >= 300,
            hide_usage=not self._admitted.facts.wants_usage,
            limit=self._surroundings.max_response_bytes,
        )
        whole = not isinstance(self._body, redacted.RedactedStreamBody)
        return Proceed(set_headers, (*removed, b"content-length"), buffer_response_body=whole)

    async def _on_response_body(self, event: ResponseBody) -> Reply:
        body = self._body
        if body is None or (self._is_held and body.finished and event.body):
            raise ProtocolError("a response body before its headers, or behind one that was whole")
        # What Envoy has held is all there is: before trailers it does not say so.
        last = not body.finished if self._is_held else event.end_of_stream
        if self._first_byte_at is None:
            self._first_byte_at = self._surroundings.now()
        if self._content is not None:
            self._content.feed(event.body)
        admitted, deadline_ms = self._admitted, self._surroundings.redaction_deadline_ms
        assert admitted is not None
        try:
            if admitted.redaction is None:
                passed = response.take(body, event.body, last=last)
            else:
                passed = await guardrails.take(admitted.redaction, body, event.body, deadline_ms, last=last)
            if self._sealed is not None and admitted.sealing is not None:
                clear = event.body if passed is None else passed
                passed = await guardrails.take(admitted.sealing, self._sealed, clear, deadline_ms, last=last)
        except (Blocked, RedactionFailed) as error:
            return await self._withhold(body, error)
        if body.finished:
            await self._complete()
        elif self._receipt is None and self._reservation and (refusal := await self._reservation.follow(body)):
            return await self._end_stream(refusal)
        if event.end_of_stream:
            self.phase = Phase.OVER
        return PROCEED if passed is None or passed == event.body else Proceed(body=passed)

    async def _withhold(self, body: response.ResponseBody, error: Blocked | RedactionFailed) -> Reply:
        """The answer may not pass: what was used is booked, the client is told instead."""
        refusal = guardrails.withheld(self._admitted.redaction if self._admitted else None, error)
        if isinstance(body, response.EventStreamBody):
            return await self._end_stream(refusal, error.passed)
        await self._complete()
        return self._refuse(refusal)

    async def _end_stream(self, refusal: Refusal, passed: bytes = b"") -> Reply:
        """Say why the stream ends here; the next message ends it. Nobody waits: the provider would go on meanwhile."""
        assert self._api is not None
        self._refusal = refusal
        self.phase = Phase.ENDING
        passed = passed if self._sealed is None else b""
        if self._receipt is None:
            self._book(cut=True, unseen=self._reservation.unseen if self._reservation else None)
        return Proceed(
            body=passed + self._api.error_event(refusal.message, refusal.kind, refusal.param, refusal.status)
        )

    async def _on_ending(self, _: Event) -> Reply:
        raise StreamEnded

    async def _on_response_trailers(self, trailers: ResponseTrailers) -> Reply:
        """The end of a response that has trailers; its last body message did not say so."""
        if (body := self._body) is not None:
            try:
                if not body.finished:
                    body.flush()
            except (Blocked, RedactionFailed) as error:
                reply = await self._withhold(body, error)
                return reply if self.over else await self._on_ending(trailers)
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
        told = (refusal.message, refusal.kind, refusal.param, refusal.status)
        body = self._api.error_body(*told) if self._api else refusals.envelope(refusal)
        headers = (*hygiene.refusal_headers(self._client.call_id), *refusal.headers)
        return Refuse(refusal.status, headers, body, f"extproc_{refusal.reason}")

    async def _complete(self) -> None:
        """Book a complete response, once, and wait until the receipt is durable."""
        if self._receipt is None:
            await self._book(cut=False)

    def _fail(self) -> None:
        """Book a response that the provider does not charge for; nothing is lost with it, so nobody waits for it."""
        self._file(Usage(), 0, estimated=False, cut=False)
        self.phase = Phase.OVER

    def _book(self, *, cut: bool, unseen: Callable[[int], int] | None = None) -> Awaitable[object]:
        """Hand in what was used. `unseen` tells, of the output tokens seen, how many there are that were not."""
        assert self._admitted is not None
        body = self._body
        usage, estimated = self._admitted.used(body)
        if unseen is not None and estimated:
            output = usage.output_tokens + unseen(usage.output_tokens)
            usage = msgspec.structs.replace(usage, output_tokens=output)
        spend = self._admitted.cost(usage, body.model if body else "")
        if self._reservation is not None and not estimated:
            self._reservation.learn(usage)
        return self._file(usage, spend, estimated=estimated, cut=cut)

    def _file(self, usage: Usage, spend: Nanos | None, *, estimated: bool, cut: bool) -> Awaitable[object]:
        """Hand in the receipt, and give back what was held; the awaitable ends when both are done."""
        assert self._admitted is not None
        self._receipt = self._admitted.receipt(
            self._body,
            usage,
            spend,
            ended_at=self._surroundings.now(),
            http_status=self._status,
            first_byte_at=self._first_byte_at,
            estimated=estimated,
            cut=cut,
        )
        durable = self._surroundings.receipts.put(self._receipt)
        if self._content is not None and self._surroundings.contents is not None:
            self._surroundings.contents.put(self._receipt, self._content)
            self._content = None
        if self._reservation is None:
            return durable
        return asyncio.gather(durable, self._reservation.settle(usage, spend))


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
    (Phase.ENDING, ResponseBody): Exchange._on_ending,
    (Phase.ENDING, ResponseTrailers): Exchange._on_ending,
    (Phase.OVER, ResponseHeaders): Exchange._pass_on,
    (Phase.OVER, ResponseBody): Exchange._pass_on,
    (Phase.OVER, ResponseTrailers): Exchange._pass_on,
}
