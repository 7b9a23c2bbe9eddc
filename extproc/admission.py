"""The way to a yes or a no, in the order in which it is gone: the table of contents of everything that may refuse.

Request headers: where from → one credential, well formed → whose key is it? → blocked, expired → its addresses and
routes → room for a receipt → a body that can be read. Request body: which model, may the key use it, which deployment
serves it, with which credential → what must not leave → for whom is it made → room in every limit, reserved for all or
none. The cheapest refusal comes first, so that a stranger costs no body and no row; nothing is refused any more once
something is reserved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from extproc import guardrails, reservation
from extproc.admitted import Admitted, Client, Price
from extproc.bodies import request
from extproc.bodies.payload_encryption import Sealing
from extproc.bodies.redaction import Redaction
from extproc.contents import Contents
from extproc.errors import MalformedBody, RedactionFailed, SecretUnavailable, StoreUnavailable
from extproc.events import Header, RequestHeaders
from extproc.guardrails import Guardrails
from extproc.model import Deployment, EndUser, Key, Tag, UnixMs, Upstream, Usage
from extproc.payload_keys import PayloadKeys
from extproc.policy import access, consent, credentials, end_users, hygiene, origins, refusals, required
from extproc.policy.consent import Demand
from extproc.policy.failures import Failures
from extproc.policy.limits import House
from extproc.policy.minimal import Kept
from extproc.policy.origins import Origins
from extproc.policy.refusals import Refusal
from extproc.policy.routing import Route, Routes
from extproc.reservation import Reservation, Rules
from extproc.stores.contract import Identities, ReceiptSink

_NO_GUARDRAILS = Guardrails(())


def configured_only(_: Upstream) -> tuple[Header, ...]:
    """Where Envoy knows every host, nothing leads it to another."""
    return ()


class Surroundings(msgspec.Struct, frozen=True):
    """What every exchange of this process shares; an immutable snapshot, so that a reload swaps all of it at once.

    `credential` gives the provider's header, `None` for a provider without one, and raises `SecretUnavailable`.
    `event_id` makes an id of a moment. `contents` keeps what was said, `None` where nobody wants that; `heed_no_log`
    says whether a request may ask to be left out. `failures` remembers who could not prove who they are. `house` are
    the limits that do not hang on a key; `rules` is how limits are reserved, `None` where nothing is limited.
    `end_user_headers` say for whom a request is made, the first one first; no `mapped_headers` go to a provider.
    `way` gives the headers that lead Envoy to the host of a stored model.
    """

    keys: Identities
    receipts: ReceiptSink
    routes: Routes
    master_digest: str
    credential: Callable[[Deployment], Header | None]
    price: Price
    now: Callable[[], UnixMs]
    event_id: Callable[[UnixMs], str]
    block_unpriced_models: bool
    max_response_bytes: int
    kept: Kept = Kept()
    consent: Demand = Demand()
    contents: Contents | None = None
    heed_no_log: bool = True
    failures: Failures = msgspec.field(default_factory=Failures)
    guardrails: Guardrails | None = None
    redaction_deadline_ms: int = 2_000
    payload_keys: PayloadKeys | None = None
    house: House = House()
    origins: Origins = Origins()
    rules: Rules | None = None
    previous_digests: tuple[str, ...] = ()
    end_user_headers: tuple[bytes, ...] = ()
    mapped_headers: tuple[bytes, ...] = ()
    way: Callable[[Upstream], tuple[Header, ...]] = configured_only


class Verdict(msgspec.Struct, frozen=True):
    """Whose key it is, where that is known, and why it may not go on, where it may not."""

    key: Key | None
    refusal: Refusal | None = None


class Request(msgspec.Struct, frozen=True):
    """A request whose key is known and whose body was read."""

    event_id: str
    started_at: UnixMs
    client: Client
    key: Key
    body: request.RequestBody


#: What is forwarded, what is held for it, and the provider's credential.
Admission: TypeAlias = "tuple[Admitted, Reservation | None, Header | None]"


async def whose(surroundings: Surroundings, event: RequestHeaders, now: UnixMs) -> Verdict:
    """Everything that can be told from a request's headers."""
    credential = surroundings.origins.check(_client(surroundings, event)) or credentials.read(event.headers)
    if isinstance(credential, Refusal):
        return _failed(surroundings, event, now, Verdict(None, credential))
    administrator = credentials.administrator(credential, surroundings.master_digest, surroundings.previous_digests)
    if administrator is not None:
        return Verdict(administrator, _check_headers(surroundings, administrator, event, now))
    if wait := surroundings.failures.wait(_address(event), credential.digest, now):
        return _failed(surroundings, event, now, Verdict(None, refusals.too_many_failures(wait)))
    try:
        key = await surroundings.keys.find(credential.digest)
    except StoreUnavailable:
        return Verdict(None, refusals.STORE_UNAVAILABLE)
    verdict = Verdict(key, _check_headers(surroundings, key, event, now))
    if key is None or (verdict.refusal is not None and verdict.refusal.status == refusals.NO_CREDENTIAL.status):
        return _failed(surroundings, event, now, verdict, credential.digest)
    surroundings.failures.found(credential.digest)
    return verdict


def _failed(
    surroundings: Surroundings, event: RequestHeaders, now: UnixMs, verdict: Verdict, digest: str = ""
) -> Verdict:
    """Remember a failed authentication; the verdict stays as it is."""
    assert verdict.refusal is not None
    prefix = credentials.prefix(event.headers) if verdict.key is None else ""
    surroundings.failures.failed(_address(event), verdict.refusal.reason, now, prefix=prefix, digest=digest)
    return verdict


def _address(event: RequestHeaders) -> str:
    return event.attributes.get("source.address", "")


async def admit(surroundings: Surroundings, asked: Request) -> Admission | Refusal:
    """Everything that can be told from a request's body. What is reserved is reserved last."""
    found = _route(surroundings, asked)
    if isinstance(found, Refusal):
        return found
    route, credential = found
    if refusal := surroundings.consent.check(asked.key, asked.body.facts.metadata, asked.started_at):
        return refusal
    admitted = Admitted(
        event_id=asked.event_id,
        started_at=asked.started_at,
        client=asked.client,
        api=asked.body.api,
        key=asked.key,
        facts=asked.body.facts,
        prompt=asked.body.prompt,
        route=route,
        price=surroundings.price,
    )
    sealing = await _open(surroundings, asked)
    if isinstance(sealing, Refusal):
        return sealing
    redaction = await _redact(surroundings, asked)
    if isinstance(redaction, Refusal):
        return redaction
    told, stored = _metadata(surroundings, asked.body), _is_stored(surroundings, asked, sealing)
    if told or stored or redaction is not None or sealing is not None:
        admitted = msgspec.structs.replace(
            admitted, redaction=redaction, sealing=sealing, metadata=told, is_stored=stored
        )
    held = await _reserve(surroundings, admitted)
    return held if isinstance(held, Refusal) else (admitted, held, credential)


def _check_headers(surroundings: Surroundings, key: Key | None, event: RequestHeaders, now: UnixMs) -> Refusal | None:
    if key is None:
        return refusals.UNKNOWN_KEY
    if refusal := access.check_key(key, now) or _check_bounds(surroundings, key, event):
        return refusal
    if not surroundings.receipts.accepting:
        return refusals.OUTBOX_FULL
    if event.end_of_stream:
        return refusals.EMPTY_BODY
    return hygiene.check_headers(event.headers) or end_users.check(event.headers, surroundings.end_user_headers)


def _check_bounds(surroundings: Surroundings, key: Key, event: RequestHeaders) -> Refusal | None:
    """From where the key may be used, and for which paths."""
    if key.fields.get("allowed_ips") and (refusal := surroundings.origins.check(_client(surroundings, event), key)):
        return refusal
    if not key.fields.get("allowed_routes"):
        return None
    path = dict(event.headers).get(b":path", b"").partition(b"?")[0].decode("ascii", "replace")
    return access.check_route(key, path, access.MODEL_ROUTES)


def _client(surroundings: Surroundings, event: RequestHeaders) -> str:
    """The client's address; its headers are read only where proxies in front of Envoy are known."""
    peer = origins.peer_of(_address(event))
    if not surroundings.origins.trusted:
        return peer
    return surroundings.origins.client(peer, origins.forwarded_of(event.headers))


def _route(surroundings: Surroundings, asked: Request) -> tuple[Route, Header | None] | Refusal:
    """The deployment that serves the request with the credential it wants, or why there is none."""
    model = asked.body.facts.model
    if refusal := access.check_model(asked.key, model) or required.check(asked.key, asked.body.document):
        return refusal
    route = surroundings.routes.choose(model, asked.event_id, asked.body.api.NAME)
    if route is None:
        served = surroundings.routes.choose(model, asked.event_id) is not None
        return (refusals.model_without_api if served else refusals.unknown_model)(model, asked.client.path)
    if surroundings.block_unpriced_models and _is_unpriced(surroundings, route, asked.started_at):
        return refusals.UNPRICED_MODEL
    try:
        return route, surroundings.credential(route.deployment)
    except SecretUnavailable:
        return refusals.PROVIDER_CREDENTIAL_MISSING


def _is_unpriced(surroundings: Surroundings, route: Route, now: UnixMs) -> bool:
    return surroundings.price(route.deployment, route.provider_model, "", Usage(), now) is None


async def _open(surroundings: Surroundings, asked: Request) -> Sealing | Refusal | None:
    """Open the request's encrypted texts; what there is to encrypt the answer with, where there were any."""
    body = asked.body
    if surroundings.payload_keys is None:
        return None
    try:
        sealing = surroundings.payload_keys.choose(asked.key, body.facts.model, asked.client.path)
        if sealing is not None:
            await guardrails.unseal(sealing, body.api, body.document, surroundings.redaction_deadline_ms)
    except RedactionFailed as failure:
        return refusals.not_redacted(failure.reason)
    except SecretUnavailable:
        return refusals.PAYLOAD_KEY_MISSING
    except MalformedBody as error:
        return refusals.malformed_body(error.message, error.param, error.status)
    return sealing if sealing is not None and sealing.opened else None


async def _redact(surroundings: Surroundings, asked: Request) -> Redaction | Refusal | None:
    """Rewrite the request's texts as the guardrails that hold for it say."""
    body = asked.body
    if surroundings.guardrails is None and "guardrails" not in body.document:
        return None
    try:
        names = guardrails.asked(body.document)
    except MalformedBody as error:
        return refusals.malformed_body(error.message, error.param, error.status)
    configured = surroundings.guardrails or _NO_GUARDRAILS
    redaction = configured.choose(asked.key, body.facts.model, asked.client.path, names)
    if isinstance(redaction, Redaction):
        if body.facts.stream and redaction.refuses_streams:
            return refusals.stream_not_inspected(", ".join(redaction.names))
        return (
            await guardrails.redact(redaction, body.api, body.document, surroundings.redaction_deadline_ms) or redaction
        )
    return redaction


def _metadata(surroundings: Surroundings, body: request.RequestBody) -> dict[str, object]:
    """What is kept of the request's metadata, as it is after guardrails have been through it."""
    return surroundings.kept.metadata(body.metadata()) if body.facts.metadata else {}


def _is_stored(surroundings: Surroundings, asked: Request, sealing: Sealing | None) -> bool:
    """Whether what is said is to be stored. What came encrypted is not: its sender keeps the key from us at rest."""
    if surroundings.contents is None or sealing is not None:
        return False
    if surroundings.heed_no_log and bytes(asked.body.document.get("no-log", b"")).strip() == b"true":
        return False
    return not consent.forbids_storage(consent.told_of(asked.key, asked.body.facts.metadata))


def client(surroundings: Surroundings, event: RequestHeaders, event_id: str) -> Client:
    """Who asks, as far as that is written down. The call id of the exchange is the client's, else ours."""
    headers, kept = dict(event.headers), surroundings.kept
    call_id = hygiene.printable(headers.get(b"x-request-id", b"").decode("ascii", "replace")).decode()
    address = _client(surroundings, event) if kept.requester_ip else ""
    return Client(
        call_id=call_id or event_id,
        path=headers.get(b":path", b"").partition(b"?")[0].decode("ascii", "replace"),
        requester_ip=hygiene.printable(address).decode(),
        user_agent=headers.get(b"user-agent", b"").decode("utf-8", "replace")[:256] if kept.user_agent else "",
        tags=hygiene.tags(headers.get(b"x-litellm-tags", b"")),
        end_user=end_users.named(event.headers, surroundings.end_user_headers),
    )


async def _reserve(surroundings: Surroundings, admitted: Admitted) -> Reservation | Refusal | None:
    """Room in every limit that the exchange meets, for whomever it is made."""
    try:
        end_user, tags = await _made_for(surroundings, admitted)
    except StoreUnavailable:
        return refusals.STORE_UNAVAILABLE
    if end_user is not None and (refusal := access.check_end_user(end_user, admitted.facts.model)):
        return refusal
    if surroundings.rules is None:
        return None
    held = reservation.of(surroundings.rules, surroundings.house, admitted, end_user, tags)
    return held and (await held.admit() or held)


async def _made_for(surroundings: Surroundings, admitted: Admitted) -> tuple[EndUser | None, tuple[Tag, ...]]:
    keys, end_user = surroundings.keys, admitted.end_user
    found = await keys.find_end_user(end_user) if end_user is not None else None
    return found, await keys.find_tags(admitted.tags) if admitted.tags else ()
