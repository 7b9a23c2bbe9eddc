"""A small OpenID provider on the loopback: discovery, the code flow with PKCE, signed tokens, keys that rotate.

It keeps to the rules by itself. A test makes it break one: `claims` are put into each ID token (`None` takes one out),
`sign` makes the token, `answers` replaces what a path answers, `asked` counts who asks for what.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import JWKRegistry, Key

from extproc.identity_providers.questions import challenge

CLIENT_ID, CLIENT_SECRET = "extproc-of-tests", "client secret: 100% of ours"
PERSON = {"sub": "person-1", "email": "ada@company.com", "email_verified": True, "hd": "company.com"}


class IdentityProvider:
    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.asked: collections.Counter[str] = collections.Counter()
        self.keys: list[Key] = []
        self.mend()

    def mend(self) -> None:
        """As it was in the beginning, with a new key."""
        self.person: dict[str, Any] = dict(PERSON)
        self.claims: dict[str, Any] = {}
        self.answers: dict[str, Response] = {}
        self.methods = ["client_secret_basic", "client_secret_post"]
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self._codes: dict[str, dict[str, str]] = {}
        self.rotate()

    def rotate(self, kind: str = "EC", size: str | int = "P-256", algorithm: str = "ES256") -> None:
        """The old key is gone; the next token is signed with a new one."""
        self.keys = [JWKRegistry.generate_key(kind, size, {"kid": secrets.token_hex(4), "use": "sig"})]
        self.algorithm = algorithm

    def signed(self, claims: dict[str, Any]) -> str:
        header = {"alg": self.algorithm, "kid": self.keys[0].kid}
        return jwt.encode(header, claims, self.keys[0], algorithms=[self.algorithm])

    def app(self) -> FastAPI:
        app = FastAPI()
        app.get("/.well-known/openid-configuration")(self._configuration)
        app.get("/authorize")(self._authorize)
        app.post("/token")(self._token)
        app.get("/jwks")(self._keys)

        @app.middleware("http")
        async def replaced(request: Request, call_next: Any) -> Any:
            path = request.url.path
            self.asked[path] += 1
            return self.answers.get(path) or await call_next(request)

        return app

    def _configuration(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "token_endpoint_auth_methods_supported": self.methods,
        }

    def _keys(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def _authorize(self, request: Request) -> Response:
        """Whoever comes is the person, and agrees."""
        asked = dict(request.query_params)
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert {"openid", "email"} <= {*asked["scope"].split()}
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        told = urlencode({"code": code, "state": asked["state"], "iss": self.issuer})
        return RedirectResponse(f"{asked['redirect_uri']}?{told}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        if self._client(request, form) != (CLIENT_ID, CLIENT_SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self._codes.pop(form["code"], None)
        if (
            asked is None
            or asked["redirect_uri"] != form["redirect_uri"]
            or asked["code_challenge"] != challenge(form["code_verifier"])
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.person,
            **self.claims,
        }
        token = self.sign({name: value for name, value in claims.items() if value is not None})
        return JSONResponse({"token_type": "Bearer", "access_token": "opaque", "id_token": token})

    @staticmethod
    def _client(request: Request, form: dict[str, str]) -> tuple[str, str]:
        told = request.headers.get("authorization", "")
        if not told.startswith("Basic "):
            return form.get("client_id", ""), form.get("client_secret", "")
        client_id, _, secret = base64.b64decode(told.removeprefix("Basic ")).decode().partition(":")
        return unquote(client_id), unquote(secret)


@contextlib.asynccontextmanager
async def running_identity_provider() -> AsyncIterator[IdentityProvider]:
    listening = socket.create_server(("127.0.0.1", 0))
    provider = IdentityProvider(f"http://127.0.0.1:{listening.getsockname()[1]}")
    server = uvicorn.Server(uvicorn.Config(provider.app(), log_config=None, lifespan="off", ws="none"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield provider
    finally:
        server.should_exit = True
        await serving
