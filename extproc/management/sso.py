"""`/sso/…`: people log in with their company's identity provider and get a key of their own, for a bounded time.

Anyone may begin a login and come back from one, so each request is bounded: how often, how long, how large. Nothing of
a login is kept here between its requests (`sso_attempts`), nothing that the provider says is believed before it is
verified (`identity_providers`), and what it is worth is decided in `policy.sso`. Browsers are sent to the identity
provider, people by a link to the loopback of the machine that they are at, and nobody anywhere else.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Coroutine
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field

from extproc.errors import LoginFailed
from extproc.identity_providers.house import IdentityProviders
from extproc.identity_providers.questions import challenge
from extproc.management import sso_accounts, sso_attempts
from extproc.management.acting import address
from extproc.management.authentication import Caller, GovernedRoute, client_of
from extproc.management.bodies import BoundedRequest
from extproc.management.documentation import ERRORS, ErrorEnvelope
from extproc.management.errors import Refused, bad_request, login_refused, respond, too_many_logins
from extproc.management.parts import ManagementParts, Parts, parts_of
from extproc.management.sso_attempts import Attempt, Cli, Grant
from extproc.management.sso_pages import command_line_page, key_page, providers_page
from extproc.model import User
from extproc.policy import sso
from extproc.policy.sso import Reason
from extproc.policy.throttle import Throttle

logger = logging.getLogger(__name__)

_SECONDS = 30.0
#: Logins of one address, and of all, in a minute: an office behind one address may begin its day.
EACH, ALL_TOGETHER = 60, 600
_CALLBACK = "/sso/callback"
_URL_SAFE = r"^[A-Za-z0-9_-]+$"


class Logins:
    """How often anyone may ask, of one application."""

    def __init__(self) -> None:
        self.throttle = Throttle(each=EACH, all_together=ALL_TOGETHER)


class OpenRoute(APIRoute):
    """A route for anyone, from where requests may come from at all, and not too often."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint = super().get_route_handler()

        async def handle(request: Request) -> Response:
            bounded = BoundedRequest(request.scope, request.receive)
            _admit(bounded)
            if self.body_field is not None:
                await bounded.load(_SECONDS)
            try:
                async with asyncio.timeout(_SECONDS):
                    return await endpoint(bounded)
            except LoginFailed as error:
                return _refuse(bounded, error)

        return handle


def _refuse(request: Request, error: LoginFailed) -> Response:
    """Nobody is logged in, and the log says why; how many lines anyone can make is bounded as logins are."""
    parts = parts_of(request)
    if parts.identity_providers is not None:
        told = {"reason": error.reason, "path": request.url.path, "address": address(request, parts)}
        logger.warning("login_failed", extra=told)
    return respond(login_refused(error.reason))


def _admit(request: Request) -> None:
    """Raises `Refused` for an address that nothing may come from, or too much comes from."""
    parts, client = parts_of(request), client_of(request)
    if refusal := parts.settings.origins.check(client):
        raise Refused(refusal)
    if parts.identity_providers is not None:
        wait = request.app.state.logins.throttle.take(client, parts.now())
        if wait:
            raise Refused(too_many_logins(wait))


_STATUSES = (400, 403, 404, 422, 429, 503)
_REFUSALS: dict[int | str, dict[str, Any]] = {
    **{status: ERRORS[status] for status in _STATUSES},
    403: {"model": ErrorEnvelope, "description": "Nobody is logged in; the message says why"},
    429: {"model": ErrorEnvelope, "description": "Too many logins; `retry-after` says how long"},
    502: {"model": ErrorEnvelope, "description": "The identity provider's answer makes no sense"},
    503: {"model": ErrorEnvelope, "description": "The identity provider, or the database, does not answer"},
}
public = APIRouter(route_class=OpenRoute, tags=["single sign-on"], responses=_REFUSALS)
session = APIRouter(route_class=GovernedRoute, tags=["single sign-on"], responses=ERRORS)


class Beginning(BaseModel):
    """Which provider; and, of a command line, where it waits on the loopback and what proves that it is the same."""

    provider: Annotated[str | None, Field(max_length=64)] = None
    cli_port: Annotated[int | None, Field(ge=1024, le=65535)] = None
    cli_challenge: Annotated[str | None, Field(min_length=43, max_length=43, pattern=_URL_SAFE)] = None
    cli_state: Annotated[str | None, Field(min_length=16, max_length=128, pattern=_URL_SAFE)] = None


class Answer(BaseModel):
    """What an identity provider sends a browser back with: OpenID Connect Core 1.0 §3.1.2.5, RFC 9207."""

    state: Annotated[str, Field(max_length=128)] = ""
    code: Annotated[str | None, Field(max_length=4_096)] = None
    error: Annotated[str | None, Field(max_length=1_024)] = None
    iss: Annotated[str | None, Field(max_length=1_024)] = None


class Redeemed(BaseModel):
    """`POST /sso/cli/key`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "v1|…", "verifier": "…"}]})

    code: Annotated[str, Field(max_length=sso_attempts.MAX_SEALED)]
    verifier: Annotated[str, Field(min_length=43, max_length=128)]


class SessionKey(BaseModel):
    """The key of a login. `key` is shown here and never again."""

    key: str
    key_name: str
    expires: str
    user_id: str
    user_email: str | None
    user_role: str | None


class Readiness(BaseModel):
    """Whether people could log in now; LiteLLM's fields, and of several providers the names."""

    status: str
    sso_configured: bool
    provider: str | None = None
    message: str | None = None


class Ended(BaseModel):
    """`POST /session/logout`."""

    status: str


async def _providers(parts: Parts) -> IdentityProviders:
    if parts.identity_providers is None:
        raise LoginFailed(Reason.NOT_CONFIGURED)
    return parts.identity_providers


Providers = Annotated[IdentityProviders, Depends(_providers)]
_HTML: dict[str, Any] = {"content": {"text/html": {}}}


@public.get(
    "/sso/key/generate",
    summary="Log in with an identity provider",
    response_model=None,
    responses={200: {**_HTML, "description": "Which provider?"}, 303: {"description": "To the identity provider"}},
)
async def begin(parts: Parts, providers: Providers, wanted: Annotated[Beginning, Query()]) -> Response:
    """For a browser, which keeps a sealed cookie meanwhile and comes back to `/sso/callback` within ten minutes."""
    cli = _cli(wanted)
    if wanted.provider is None and len(providers.names) > 1 and cli is None:
        return providers_page(providers.names, _base(providers))
    provider = providers.of(wanted.provider)
    attempt = sso_attempts.begun(provider.settings.name, parts.now(), cli)
    address = await provider.address(attempt.question(_callback(providers, attempt.provider)))
    response = RedirectResponse(address, 303)
    _set_cookie(response, providers, sso_attempts.sealed(parts, attempt), sso_attempts.ATTEMPT_MS // 1_000)
    return response


@public.get(
    _CALLBACK,
    summary="Come back from an identity provider",
    response_model=None,
    responses={200: {**_HTML, "description": "The key, or a link to the command line that waits for it"}},
)
async def come_back(
    request: Request, parts: Parts, providers: Providers, answer: Annotated[Answer, Query()]
) -> Response:
    """Shows a key, once. A browser that did not begin this login is refused. A login is good for one key."""
    return await _come_back(request, parts, providers, answer, None)


@public.get(
    f"{_CALLBACK}/{{name}}",
    summary="Come back from one of several identity providers",
    response_model=None,
    responses={200: {**_HTML, "description": "As of /sso/callback"}},
)
async def come_back_from(
    request: Request, parts: Parts, providers: Providers, name: str, answer: Annotated[Answer, Query()]
) -> Response:
    """Where there are several, each has an address of its own: what one says is never taken for another's answer."""
    return await _come_back(request, parts, providers, answer, name)


async def _come_back(
    request: Request, parts: ManagementParts, providers: IdentityProviders, answer: Answer, name: str | None
) -> Response:
    try:
        response = await _finish(request, parts, providers, answer, name)
    except LoginFailed as error:
        response = _refuse(request, error)
        if error.reason == Reason.WRONG_STATE:
            # Of another window, or from somebody else: the login that this browser is at goes on.
            return response
    _set_cookie(response, providers, "", 0)
    return response


@public.post("/sso/cli/key", response_model=SessionKey, summary="The key of a login from a command line")
async def redeem(request: Request, parts: Parts, providers: Providers, wanted: Redeemed) -> Any:
    """For the one-time code that the command line got on the loopback, and the verifier that only it knows."""
    grant = sso_attempts.opened(parts, wanted.code, Grant, Reason.BAD_REQUEST)
    if not hmac.compare_digest(_challenge(wanted.verifier), grant.challenge.encode()):
        raise LoginFailed(Reason.BAD_REQUEST)
    user = await parts.entities.users.find(grant.user_id)
    if user is None:
        raise LoginFailed(Reason.USER_GONE)
    if user.blocked:
        raise LoginFailed(Reason.USER_BLOCKED)
    sso_accounts.acts(user.id, address(request, parts))
    made = await sso_accounts.key(parts, user, grant.provider, providers.settings.session_duration, grant.id)
    return {**made, "user_email": user.email, "user_role": user.role}


@public.get(
    "/sso/readiness",
    summary="Whether people can log in",
    response_model=None,
    responses={200: {"model": Readiness}, 503: {"model": Readiness, "description": "Nobody can log in now"}},
)
async def readiness(parts: Parts) -> Response:
    """Asks each identity provider what it says of itself, at most once in some seconds."""
    if parts.identity_providers is None:
        told = {"status": "healthy", "sso_configured": False, "message": "No SSO provider configured"}
        return JSONResponse(told)
    names = parts.identity_providers.names
    told = {"sso_configured": True, "provider": ", ".join(names)}
    try:
        sso_attempts.check(parts)
        await asyncio.gather(*(parts.identity_providers.of(name).ready() for name in names))
    except LoginFailed as error:
        return JSONResponse({"status": "unhealthy", **told, "message": login_refused(error.reason).message}, 503)
    return JSONResponse({"status": "healthy", **told})


@session.post("/session/logout", response_model=Ended, summary="End a login")
async def log_out(parts: Parts, caller: Caller) -> Any:
    """Deletes the key that asks, if it is one of a login."""
    if not await sso_accounts.end(parts, caller):
        raise bad_request("This key is none of a login: it is deleted with /key/delete.", "key")
    return {"status": "logged out"}


async def _finish(
    request: Request, parts: ManagementParts, providers: IdentityProviders, answer: Answer, name: str | None
) -> Response:
    """The answer to a login that succeeded; `name` is whose address it came to. Raises `LoginFailed`."""
    attempt = _attempt(request, parts, providers, answer)
    provider = providers.of(attempt.provider)
    _check_origin(providers, provider.settings, answer, name)
    if answer.code is None:
        raise LoginFailed(Reason.DECLINED if answer.error else Reason.BAD_REQUEST)
    question = attempt.question(_callback(providers, attempt.provider))
    claims = await provider.claims(question, answer.code, parts.now())
    identity = sso.identify(provider.settings, claims)
    if isinstance(identity, Reason):
        raise LoginFailed(identity)
    user = await sso_accounts.account(parts, providers, identity, address(request, parts))
    if attempt.cli is not None:
        return _to_command_line(parts, attempt, attempt.cli, user, identity.email)
    made = await sso_accounts.key(parts, user, attempt.provider, providers.settings.session_duration, attempt.state)
    return key_page(key=made["key"], email=identity.email, expires=made["expires"], base_url=_base(providers))


def _check_origin(
    providers: IdentityProviders, begun_at: sso.IdentityProvider, answer: Answer, name: str | None
) -> None:
    """The answer must be of the provider that the login was begun at: else one provider could send people on to another
    and be given that one's code (RFC 9700 §4.4). `iss` alone would not do, for not every provider says it."""
    expected = begun_at.name if len(providers.names) > 1 else None
    if name not in {expected, begun_at.name} or answer.iss not in {None, begun_at.issuer}:
        raise LoginFailed(Reason.WRONG_STATE)


def _attempt(request: Request, parts: ManagementParts, providers: IdentityProviders, answer: Answer) -> Attempt:
    text = request.cookies.get(_cookie_name(providers), "")
    attempt = sso_attempts.opened(parts, text, Attempt, Reason.NO_ATTEMPT)
    if not hmac.compare_digest(attempt.state.encode(), answer.state.encode()):
        raise LoginFailed(Reason.WRONG_STATE)
    return attempt


def _to_command_line(parts: ManagementParts, attempt: Attempt, cli: Cli, user: User, email: str) -> Response:
    """Back to the loopback (RFC 8252 §7.3), with a code in place of the key: an address is written down anywhere."""
    grant = Grant(
        id=attempt.state,
        user_id=user.id,
        provider=attempt.provider,
        challenge=cli.challenge,
        expires_at=parts.now() + sso_attempts.GRANT_MS,
    )
    told = urlencode({"code": sso_attempts.sealed(parts, grant), "state": cli.state})
    return command_line_page(email=email, port=cli.port, url=f"http://127.0.0.1:{cli.port}/?{told}")


def _cli(wanted: Beginning) -> Cli | None:
    told = (wanted.cli_port, wanted.cli_challenge, wanted.cli_state)
    if told == (None, None, None):
        return None
    if wanted.cli_port is None or wanted.cli_challenge is None or wanted.cli_state is None:
        raise LoginFailed(Reason.BAD_REQUEST)
    return Cli(wanted.cli_port, wanted.cli_challenge, wanted.cli_state)


def _challenge(verifier: str) -> bytes:
    return challenge(verifier).encode()


def _base(providers: IdentityProviders) -> str:
    """From the configuration; a `Host` header is whatever a client says."""
    assert providers.settings.base_url is not None
    return providers.settings.base_url


def _callback(providers: IdentityProviders, name: str) -> str:
    """The address that a provider sends browsers back to; of several providers no two have the same."""
    return _base(providers) + _CALLBACK + (f"/{name}" if len(providers.names) > 1 else "")


def _is_tls(providers: IdentityProviders) -> bool:
    return _base(providers).startswith("https://")


def _cookie_name(providers: IdentityProviders) -> str:
    """`__Host-`: set by this very host over TLS, for no other host and no part of it (RFC 6265bis)."""
    return f"{'__Host-' if _is_tls(providers) else ''}extproc-login"


def _set_cookie(response: Response, providers: IdentityProviders, value: str, seconds: int) -> None:
    response.set_cookie(
        _cookie_name(providers), value, max_age=seconds, path="/", secure=_is_tls(providers), httponly=True,
        samesite="lax",
    )  # fmt: skip
