"""One identity provider: where to send somebody who logs in, and who came back.

The authorization code flow (OpenID Connect Core 1.0 §3.1) with PKCE (RFC 7636, S256). A code is worth nothing without
the verifier, and an answer nothing without the nonce: both never leave this gateway but sealed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from extproc.errors import LoginFailed, SecretUnavailable
from extproc.identity_providers import id_tokens
from extproc.identity_providers.asking import Asking
from extproc.identity_providers.discovery import Discovery, Metadata
from extproc.identity_providers.questions import Question, challenge
from extproc.model import UnixMs
from extproc.policy.sso import ANY_DOMAIN, GOOGLE, IdentityProvider, Reason
from extproc.secrets import SecretResolver


class OpenIdProvider:
    """`clock` tells seconds that only go forward. Every method raises `LoginFailed`."""

    def __init__(
        self,
        settings: IdentityProvider,
        asking: Asking,
        resolver: SecretResolver,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._asking = asking
        self._resolver = resolver
        self._discovery = Discovery(settings.issuer, asking, clock)

    async def ready(self) -> None:
        """Return where somebody could log in now."""
        self._credentials()
        await self._discovery.metadata()

    async def address(self, question: Question) -> str:
        """Where the person's browser is sent."""
        client_id, _ = self._credentials()
        endpoint = (await self._discovery.metadata()).authorization_endpoint
        told = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": question.redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": question.state,
            "nonce": question.nonce,
            "code_challenge": challenge(question.verifier),
            "code_challenge_method": "S256",
            **self._hints(),
        }
        return endpoint + ("&" if urlsplit(endpoint).query else "?") + urlencode(told)

    async def claims(self, question: Question, code: str, now: UnixMs) -> dict[str, Any]:
        """The verified claims of whoever came back with this code."""
        client_id, secret = self._credentials()
        metadata = await self._discovery.metadata()
        status, answer = await self._exchange(metadata, question, code, (client_id, secret))
        if status >= 500 or status == 429:
            raise LoginFailed(Reason.PROVIDER_DOWN)
        if status != 200:
            # `invalid_grant` is about the code; anything else (`invalid_client`, …) is the operator's to mend.
            refused = answer.get("error") == "invalid_grant"
            raise LoginFailed(Reason.CODE_REFUSED if refused else Reason.PROVIDER_ANSWER)
        return await id_tokens.verified(
            answer.get("id_token"),
            self._discovery.key,
            issuer=self.settings.issuer,
            client_id=client_id,
            nonce=question.nonce,
            now=now,
        )

    async def _exchange(
        self, metadata: Metadata, question: Question, code: str, credentials: tuple[str, str]
    ) -> tuple[int, dict[str, Any]]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": question.redirect_uri,
            "code_verifier": question.verifier,
        }
        client_id, secret = credentials
        if "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            # RFC 6749 §2.3.1: encoded as in a form before they are joined.
            return await self._asking.post(
                metadata.token_endpoint, form, (quote(client_id, safe=""), quote(secret, safe=""))
            )
        form |= {"client_id": client_id, "client_secret": secret}
        return await self._asking.post(metadata.token_endpoint, form)

    def _credentials(self) -> tuple[str, str]:
        try:
            found = [self._resolver.resolve(each) for each in (self.settings.client_id, self.settings.client_secret)]
        except SecretUnavailable:
            raise LoginFailed(Reason.NOT_AVAILABLE) from None
        client_id, secret = (each.get_secret_value() for each in found)
        return client_id, secret

    def _hints(self) -> dict[str, str]:
        """Google shows accounts of the company first. It is a hint: what comes back is checked."""
        domains = [domain for domain in self.settings.allowed_domains if domain != ANY_DOMAIN]
        if self.settings.kind != GOOGLE or not domains:
            return {}
        return {"hd": domains[0] if len(domains) == 1 else "*"}
