"""Rows of LiteLLM's tables as our values (`schema.prisma` of LiteLLM 1.109). Pure.

A column that an older LiteLLM does not have is as good as empty. LiteLLM keeps some settings of keys and teams among
their `metadata`; here they have places of their own. What is kept but decides nothing here, and what is not kept, is
noted: nobody should learn of it from an incident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from extproc.importing import values
from extproc.importing.notes import Notes
from extproc.model import Budget, EndUser, Key, Membership, Tag, Team, UnixMs, User
from extproc.policy import credentials

Row = Mapping[str, Any]

#: Settings that LiteLLM keeps in a key's or a team's metadata, and we among its further fields.
_FURTHER_IN_METADATA = (
    *("tags", "guardrails", "policies", "prompts", "enforced_params", "allowed_passthrough_routes"),
    *("rpm_limit_type", "tpm_limit_type", "tag_rpm_limit", "mcp_rpm_limit"),
    *("team_member_key_duration", "throttle_on_budget_exceeded", "allow_litellm_changed_by_header"),
)
#: Settings in the metadata that become limits.
_LIMITS_IN_METADATA = (
    *("model_rpm_limit", "model_tpm_limit", "temp_budget_increase", "temp_budget_expiry", "soft_budget"),
    "model_max_budget",
)
_KEY_COLUMNS = (
    *("aliases", "config", "permissions", "router_settings", "budget_fallbacks"),
    *("project_id", "agent_id", "allowed_routes", "key_type", "allowed_cache_controls", "policies"),
    *("auto_rotate", "rotation_interval"),
)
_TEAM_COLUMNS = ("router_settings", "team_member_permissions", "policies")
#: Columns without a counterpart, where they say something.
_UNKNOWN = {
    "object_permission_id": "object permissions (MCP servers, vector stores) have no counterpart",
    "access_group_ids": "access groups have no counterpart: list their models in `models`",
    "project_id": "projects have no counterpart: their budgets and models do not count",
    "agent_id": "agents have no counterpart",
    "router_settings": "router_settings of a key or team are kept and decide nothing",
    "budget_fallbacks": "budget_fallbacks are kept and decide nothing",
    "aliases": "model aliases of a key are kept and decide nothing",
    "auto_rotate": "auto_rotate: see the documentation of /key/regenerate for what it means here",
    "password": "passwords are not taken along",
    "allowed_model_region": "allowed_model_region has no counterpart",
    "default_model": "default_model has no counterpart",
}

_EMPTY: tuple[Any, ...] = (None, "", "{}", "[]", "null", {}, [])


class Translation:
    """Translates row by row. It remembers names that must be unique here: LiteLLM's database does not keep them so."""

    def __init__(self, now: UnixMs) -> None:
        self.notes = Notes()
        self._now = now
        self._aliases: set[str] = set()
        self._emails: set[str] = set()

    def budget(self, row: Row) -> Budget:
        """`LiteLLM_BudgetTable`."""
        return Budget(
            id=row["budget_id"],
            **self._allowance(row, {}, row["budget_id"]),
            **self._made(row),
            created_by=row.get("created_by"),
            updated_by=row.get("updated_by"),
        )

    def team(self, row: Row) -> Team:
        """`LiteLLM_TeamTable`; `model_aliases` of its own table stand in the row where the team has some."""
        self._remark(row, row["team_id"])
        metadata = values.mapping(row.get("metadata"))
        further = self._further(row, metadata, _TEAM_COLUMNS)
        if aliases := values.mapping(row.get("model_aliases")):
            further["model_aliases"] = aliases
            self.notes.add("model aliases of a team are kept and decide nothing", row["team_id"])
        return Team(
            id=row["team_id"],
            alias=row.get("team_alias"),
            organization_id=row.get("organization_id"),
            models=values.texts(row.get("models")),
            blocked=bool(row.get("blocked")),
            spend=values.nanos(row.get("spend")) or 0,
            metadata=_rest(metadata),
            fields=further,
            **self._allowance(row, metadata, row["team_id"]),
            **self._made(row),
        )

    def memberships(self, row: Row, budgets: Mapping[tuple[str, str], Row]) -> list[Membership]:
        """The members that a row of `LiteLLM_TeamTable` names, each with their row of `LiteLLM_TeamMembership` joined
        to its budget, where there is one."""
        roles: dict[str, str] = {}
        listed = values.decoded(row.get("members_with_roles"))
        for member in listed if isinstance(listed, list) else ():
            if isinstance(member, dict) and isinstance(member.get("user_id"), str):
                roles[member["user_id"]] = "admin" if member.get("role") == "admin" else "user"
        for user_id in (*values.texts(row.get("admins")), *values.texts(row.get("members"))):
            roles.setdefault(user_id, "admin" if user_id in values.texts(row.get("admins")) else "user")
        made = self._made(row)["created_at"]
        found = []
        for user_id, role in roles.items():
            own = budgets.get((user_id, row["team_id"]), {})
            found.append(
                Membership(
                    user_id=user_id,
                    team_id=row["team_id"],
                    role=role,
                    models=values.texts(own.get("allowed_models")),
                    spend=values.nanos(own.get("spend")) or 0,
                    created_at=made,
                    **self._allowance(own, {}, f"{user_id} in {row['team_id']}"),
                )
            )
        return found

    def user(self, row: Row) -> User:
        """`LiteLLM_UserTable`."""
        self._remark(row, row["user_id"])
        metadata = values.mapping(row.get("metadata"))
        further = self._further(row, metadata, ("policies",))
        return User(
            id=row["user_id"],
            email=self._only_one(self._emails, row.get("user_email"), row["user_id"], "e-mail address"),
            alias=row.get("user_alias"),
            sso_user_id=row.get("sso_user_id") or None,
            role=row.get("user_role"),
            models=values.texts(row.get("models")),
            spend=values.nanos(row.get("spend")) or 0,
            metadata=_rest(metadata),
            fields=further,
            **self._allowance(row, metadata, row["user_id"]),
            **self._made(row),
        )

    def key(self, row: Row) -> Key:
        """`LiteLLM_VerificationToken`. Its `token` is the digest that we keep, so the key itself goes on working."""
        digest = row["token"]
        subject = row.get("key_alias") or row.get("key_name") or digest[:8]
        if digest.startswith("sk-"):
            digest = credentials.digest(digest)
        self._remark(row, subject)
        metadata = values.mapping(row.get("metadata"))
        return Key(
            digest=digest,
            name=row.get("key_name") or "sk-...",
            alias=self._only_one(self._aliases, row.get("key_alias"), digest[:8], "alias"),
            models=values.texts(row.get("models")),
            blocked=bool(row.get("blocked")),
            expires_at=values.unix_ms(row.get("expires")),
            user_id=row.get("user_id"),
            team_id=row.get("team_id"),
            organization_id=row.get("organization_id"),
            budget_id=row.get("budget_id"),
            spend=values.nanos(row.get("spend")) or 0,
            metadata=_rest(metadata),
            fields=self._further(row, metadata, _KEY_COLUMNS),
            created_by=row.get("created_by"),
            updated_by=row.get("updated_by"),
            last_active=values.unix_ms(row.get("last_active")),
            **self._allowance(row, metadata, subject),
            **self._made(row),
        )

    def end_user(self, row: Row) -> EndUser:
        """`LiteLLM_EndUserTable`. There, `blocked` blocks nobody; here it does."""
        self._remark(row, row["user_id"])
        if row.get("blocked"):
            self.notes.add("blocked customers are really blocked here", row["user_id"])
        return EndUser(
            id=row["user_id"],
            alias=row.get("alias"),
            blocked=bool(row.get("blocked")),
            models=values.texts(row.get("models")),
            spend=values.nanos(row.get("spend")) or 0,
            budget_id=row.get("budget_id"),
            created_at=self._now,
            updated_at=self._now,
        )

    def tag(self, row: Row) -> Tag:
        """`LiteLLM_TagTable`."""
        return Tag(
            name=row["tag_name"],
            description=row.get("description"),
            models=values.texts(row.get("models")),
            spend=values.nanos(row.get("spend")) or 0,
            budget_id=row.get("budget_id"),
            created_by=row.get("created_by"),
            **self._made(row),
        )

    def _allowance(self, row: Row, metadata: Row, subject: str) -> dict[str, Any]:
        """The fields of `Allowance`; what stands in the metadata counts where the column is empty."""
        given = {**{name: metadata.get(name) for name in _LIMITS_IN_METADATA}, **_filled(row)}
        budget = values.nanos(given.get("max_budget"))
        if budget is not None and budget < 0:
            self.notes.add("a negative budget became 0", subject)
        return {
            "max_budget": None if budget is None else max(budget, 0),
            "soft_budget": values.nanos(given.get("soft_budget")),
            "budget_duration": values.duration(given.get("budget_duration"), self.notes, subject),
            "budget_reset_at": values.unix_ms(given.get("budget_reset_at")),
            **{name: values.whole(given.get(name)) for name in ("max_parallel_requests", "rpm_limit", "tpm_limit")},
            "tpd_limit": values.whole(given.get("tpd_limit")),
            "model_rpm_limit": values.limits_of_models(given.get("model_rpm_limit")),
            "model_tpm_limit": values.limits_of_models(given.get("model_tpm_limit")),
            "model_max_budget": values.budgets_of_models(given.get("model_max_budget"), self.notes, subject),
            "budget_limits": values.windows_of(given.get("budget_limits"), self.notes, subject),
            "temp_budget_increase": values.nanos(given.get("temp_budget_increase")),
            "temp_budget_expiry": values.unix_ms(given.get("temp_budget_expiry")),
        }

    def _further(self, row: Row, metadata: Row, columns: Sequence[str]) -> dict[str, Any]:
        filled = _filled(row)
        inside = {name: metadata[name] for name in _FURTHER_IN_METADATA if metadata.get(name) not in (None, [], {})}
        return inside | {name: values.structured(filled[name]) for name in columns if name in filled}

    def _made(self, row: Row) -> dict[str, Any]:
        made = values.unix_ms(row.get("created_at")) or self._now
        return {"created_at": made, "updated_at": values.unix_ms(row.get("updated_at")) or made}

    def _remark(self, row: Row, subject: str) -> None:
        for name in _UNKNOWN.keys() & _filled(row).keys():
            self.notes.add(_UNKNOWN[name], subject)

    def _only_one(self, taken: set[str], name: str | None, subject: str, kind: str) -> str | None:
        """This name, or one that nobody has yet."""
        if not name:
            return None
        if name in taken:
            self.notes.add(f"a second one had the same {kind}: it got none", f"{name} ({subject})")
            return None
        taken.add(name)
        return name


def _filled(row: Row) -> dict[str, Any]:
    """The columns that say something. 0 does: it is a limit."""
    return {name: value for name, value in row.items() if value not in _EMPTY and value is not False}


def _rest(metadata: Row) -> dict[str, Any]:
    """The metadata without what has a place of its own."""
    moved = {*_FURTHER_IN_METADATA, *_LIMITS_IN_METADATA}
    return {name: value for name, value in metadata.items() if name not in moved}
