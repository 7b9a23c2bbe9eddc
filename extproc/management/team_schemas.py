"""What the endpoints for teams and users take, beside limits: LiteLLM's fields, typed and bounded.

`TeamFurther` and `UserFurther` are stored and shown; only `team_member_…` decide something: what new members get.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from extproc.management.allowances import AllowanceFields
from extproc.management.fields import MAX_LIST, Id, Limit, Text, Texts
from extproc.management.money import Dollars, ShownDollars


class TeamFurther(BaseModel):
    """Fields of a team that are stored and shown as they were sent."""

    model_aliases: dict[str, Any] | None = None
    guardrails: Texts | None = None
    policies: Texts | None = None
    prompts: Texts | None = None
    tags: Texts | None = None
    router_settings: dict[str, Any] | None = None
    object_permission: dict[str, Any] | None = None
    allowed_passthrough_routes: Texts | None = None
    rpm_limit_type: Text | None = None
    tpm_limit_type: Text | None = None
    team_member_permissions: Texts | None = []
    team_member_budget: ShownDollars | None = None
    team_member_budget_duration: Text | None = None
    team_member_rpm_limit: Limit | None = None
    team_member_tpm_limit: Limit | None = None
    team_member_key_duration: Text | None = None


class TeamFields(TeamFurther, AllowanceFields):
    """Everything that may be said of a team."""

    team_alias: Annotated[Id, Field(description="A name for people; several teams may share one.")] = None
    organization_id: Id = None
    models: Annotated[
        Texts | None, Field(description="Models that the team's keys may use; none is all. `*` stands for any.")
    ] = []
    spend: Dollars | None = None
    metadata: dict[str, Any] | None = {}
    blocked: bool | None = None


class UpdateTeam(TeamFields):
    """`POST /team/update`. What is left out stays; null takes a limit, a budget or an id away."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"team_id": "team-123", "max_budget": 2000.0}]}
    )

    team_id: Text


class NamedTeam(BaseModel):
    """`POST /team/block` and `/team/unblock`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"team_id": "team-123"}]})

    team_id: Text


class DeleteTeams(BaseModel):
    """`POST /team/delete`: all of them or, if one is unknown, none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"team_ids": ["team-123"]}]})

    team_ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_LIST)]


class UserFurther(BaseModel):
    """Fields of a user that are stored and shown as they were sent."""

    object_permission: dict[str, Any] | None = None
    permissions: dict[str, Any] | None = None
    guardrails: Texts | None = None
    policies: Texts | None = None
    prompts: Texts | None = None
    aliases: dict[str, Any] | None = None
    send_invite_email: bool | None = None


def _no_password(value: object) -> object:
    if value is not None:
        raise PydanticCustomError("value_error", "Users have no passwords here: leave it out")
    return None


class UserFields(UserFurther, AllowanceFields):
    """Everything that may be said of a user."""

    user_email: Annotated[Id, Field(description="No two users share one.")] = None
    user_alias: Id = None
    sso_user_id: Id = None
    user_role: (
        Literal[
            "proxy_admin",
            "proxy_admin_viewer",
            "org_admin",
            "internal_user",
            "internal_user_viewer",
            "team",
            "customer",
        ]
        | None
    ) = None
    models: Annotated[
        Texts | None, Field(description="Models that the user's keys may use where they are in no team; none is all.")
    ] = []
    spend: Dollars | None = None
    metadata: dict[str, Any] | None = {}
    password: Annotated[None, BeforeValidator(_no_password), Field(description="Refused.")] = None


class NewUser(UserFields):
    """`POST /user/new`. An empty body makes a user with a key and no limits."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "user_id": "u-1",
                    "user_email": "user@example.com",
                    "user_role": "internal_user",
                    "max_budget": 10.0,
                    "budget_duration": "30d",
                }
            ]
        },
    )

    user_id: Id = None
    teams: Texts | None = None
    auto_create_key: bool = True
    key_alias: Id = None
    duration: Annotated[Text | None, Field(description="How long the user's first key is valid.")] = None


class UpdateUser(UserFields):
    """`POST /user/update`. What is left out stays; null takes a limit, a budget or an id away."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [{"user_id": "u-1", "max_budget": 20.0}]})

    user_id: Id = None

    @model_validator(mode="after")
    def _names_a_user(self) -> Self:
        if self.user_id is None and self.user_email is None:
            raise PydanticCustomError("missing", "Either user_id or user_email is required")
        return self


class NamedUser(BaseModel):
    """`POST /user/block` and `/user/unblock`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "u-1"}]})

    user_id: Text


class DeleteUsers(BaseModel):
    """`POST /user/delete`: all of them or, if one is unknown, none."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_ids": ["u-1"]}]})

    user_ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_LIST)]
