"""`extproc login` and `extproc logout`: a key of one's own by single sign-on, kept in a profile.

A browser logs in; this command waits on a port of the loopback (RFC 8252). What comes there is a one-time code, which
is worth nothing without the verifier that never left this process: the key itself is in no address. Whatever else
comes to the port is answered and changes nothing.
"""

from __future__ import annotations

import hmac
import secrets
import time
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import typer

from extproc.cli import asking, profiles
from extproc.cli.asking import REFUSED, Gateway, Unsuccessful
from extproc.errors import ConfigError

#: For the person to log in; as long as the gateway keeps the attempt.
WAIT_SECONDS = 600
_QUESTION_SECONDS = 5.0
_MAX_PATH = 16_384
_DONE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>extproc</title></head>
<body><p>The command line has what it needs. You can close this page.</p></body></html>
"""

Name = Annotated[str, typer.Option("--profile", metavar="NAME", help="Under which name the gateway is kept.")]


def login(
    profile: Name = profiles.DEFAULT_PROFILE,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The gateway; else the profile's.")] = None,
    ca: Annotated[str, typer.Option("--ca", metavar="FILE", help="The authority of its certificate (PEM).")] = "",
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="With which identity provider, of several.")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address to log in at.")] = False,
) -> None:
    """Log in with your company's identity provider, and keep the key. It is valid for a bounded time."""
    known = profiles.read().get(profile, {})
    base = profiles.check_url(url or known.get("url") or profiles.LOCAL_URL)
    authority = profiles.absolute(ca) or (str(known.get("ca", "")) if base == known.get("url") else "")
    with asking.client(base, authority or None) as gateway:
        _check(gateway, base, provider)
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(32)
    with _Waiting(state) as waiting:
        _send(_address(base, waiting.server_port, verifier, state, provider), no_browser=no_browser)
        code = waiting.code()
    with asking.client(base, authority or None) as gateway:
        made = gateway.post("/sso/cli/key", {"code": code, "verifier": verifier})
    # Read again: others may have been kept while this one waited.
    profiles.write({**profiles.read(), profile: {"url": base, "key": made["key"], "ca": authority}})
    typer.echo(f"logged in as {made['user_email']} ({made['user_role']}) until {made['expires']}")


def logout(profile: Name = profiles.DEFAULT_PROFILE) -> None:
    """End the login: the key is deleted at the gateway and in the profile."""
    known = profiles.read().get(profile)
    if known is None or not str(known.get("key", "")).startswith("sk-"):
        raise ConfigError(f"the profile {profile!r} has no key of a login")
    with asking.client(str(known.get("url")), known.get("ca"), str(known["key"])) as gateway:
        _end(gateway)
    profiles.write({name: each for name, each in profiles.read().items() if name != profile})
    typer.echo("logged out")


def _check(gateway: Gateway, base: str, provider: str | None) -> None:
    """Where nobody can log in nobody need wait. Raises `Unsuccessful`."""
    told = gateway.get("/sso/readiness")
    if not isinstance(told, dict) or not told.get("sso_configured"):
        raise Unsuccessful(f"{base} has no single sign-on: general_settings.sso_providers", REFUSED)
    names = str(told.get("provider", "")).split(", ")
    if provider not in names and (provider is not None or len(names) > 1):
        raise Unsuccessful(f"name one of the identity providers with --provider: {', '.join(names)}", REFUSED)


def _end(gateway: Gateway) -> None:
    """A key that has ended meanwhile needs no end."""
    try:
        gateway.post("/session/logout", None)
    except Unsuccessful as error:
        if "(HTTP 401)" not in str(error):
            raise


def _send(address: str, *, no_browser: bool) -> None:
    if no_browser or not webbrowser.open(address):
        typer.echo(f"Log in at:\n{address}")
    else:
        typer.echo("Log in with the browser that has opened. Without one, say --no-browser.", err=True)


def _address(base: str, port: int, verifier: str, state: str, provider: str | None) -> str:
    from extproc.identity_providers.questions import challenge

    told: dict[str, Any] = {"cli_port": port, "cli_challenge": challenge(verifier), "cli_state": state}
    if provider is not None:
        told["provider"] = provider
    return f"{base}/sso/key/generate?{urlencode(told)}"


class _Waiting(ThreadingHTTPServer):
    """Listens on a free port of the loopback for the one request that has our state. Browsers open connections that
    they say nothing on: each has a thread, and nobody waits for those."""

    block_on_close = False

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.timeout = 0.2
        self.state = state
        self.found = ""

    def code(self) -> str:
        """What came, within the time that there is. Raises `Unsuccessful`."""
        until = time.monotonic() + WAIT_SECONDS
        while not self.found and time.monotonic() < until:
            self.handle_request()
        if not self.found:
            raise Unsuccessful("nobody logged in", REFUSED)
        return self.found

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever cannot speak HTTP is nobody that we wait for."""


class _Handler(BaseHTTPRequestHandler):
    server: _Waiting
    timeout = _QUESTION_SECONDS

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path[:_MAX_PATH]).query)
        state, code = (query.get(name, [""])[0] for name in ("state", "code"))
        ours = hmac.compare_digest(state.encode(), self.server.state.encode()) and bool(code)
        try:
            self._answer(200 if ours else 404, _DONE if ours else b"")
        finally:
            # Last, for the command ends then, and its threads with it.
            if ours:
                self.server.found = code

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("content-type", "text/html; charset=utf-8"),
            ("content-length", str(len(body))),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The code stands in the path: it is written down nowhere."""
