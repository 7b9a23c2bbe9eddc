"""The identity providers of the settings, in one process. Their library is imported when there are any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extproc.errors import ConfigError, LoginFailed
from extproc.identity_providers.asking import Asking
from extproc.policy.sso import Reason, SingleSignOn
from extproc.secrets import SecretResolver

if TYPE_CHECKING:
    from extproc.identity_providers.openid_provider import OpenIdProvider


class IdentityProviders:
    """`settings.base_url` must be there by now. Raises `ConfigError` where the extra is missing."""

    def __init__(self, settings: SingleSignOn, asking: Asking | None = None) -> None:
        try:
            from extproc.identity_providers.openid_provider import OpenIdProvider
        except ImportError:
            raise ConfigError("sso_providers needs an extra: pip install 'llm-extproc[sso]'") from None
        self.settings = settings
        self._asking = asking or Asking()
        resolver = SecretResolver()
        self._providers = {each.name: OpenIdProvider(each, self._asking, resolver) for each in settings.providers}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the configuration."""
        return tuple(self._providers)

    def of(self, name: str | None) -> OpenIdProvider:
        """The provider of this name; without a name the only one. Raises `LoginFailed`."""
        if name is None and len(self._providers) > 1:
            raise LoginFailed(Reason.CHOOSE_PROVIDER)
        found = self._providers.get(name or self.names[0])
        if found is None:
            raise LoginFailed(Reason.UNKNOWN_PROVIDER)
        return found

    async def close(self) -> None:
        """Let the connections go."""
        await self._asking.close()
