"""What a configuration file may say about single sign-on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from extproc.settings.checked import Checked, Dollars, Secret, Text, Whole

#: Roles of ours that logging in may give.
LoginRole = Literal["proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"]


class RoleMappings(Checked):
    """LiteLLM's `role_mappings`: which values of a claim mean which role, for accounts that are made."""

    group_claim: Text
    default_role: LoginRole | None = None
    roles: dict[LoginRole, list[Text]] = {}


class SsoProvider(Checked):
    """A row of `sso_providers`. `issuer` is of a `generic` one (also `oidc`), `tenant` of Microsoft."""

    provider: Literal["google", "microsoft", "generic", "oidc"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")] | None = None
    client_id: Secret | None = None
    client_secret: Secret | None = None
    allowed_domains: list[Text] | None = None
    tenant: Text | None = None
    issuer: Text | None = None
    scopes: list[Text] | None = None
    role_mappings: RoleMappings | None = None


class DefaultUser(Checked):
    """LiteLLM's `default_internal_user_params`: what an account has that logging in makes."""

    user_role: LoginRole | None = None
    max_budget: Dollars | None = None
    budget_duration: Text | None = None
    models: list[Text] | None = None
    rpm_limit: Whole | None = None
    tpm_limit: Whole | None = None
    max_parallel_requests: Whole | None = None
