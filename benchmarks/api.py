"""LiteLLM's management API beside ours: `python -m benchmarks.api --write` puts the table into `docs/api.md`.

LiteLLM's endpoints (1.109) stand here, each with what is different. Whether a route is here, and who may call it, is
read from `policy.roles`; what is here alone is what is left of that table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from extproc.policy import roles
from extproc.policy.roles import Who

PAGE = Path(__file__).parent.parent / "docs" / "api.md"

_HEAD = """# The management API beside LiteLLM's

Made by `python -m benchmarks.api --write` from the table of routes; a test holds it up to date. `/openapi.json` has
every field and an example of every body, `/docs` shows it. *Same* means: LiteLLM 1.109's path, fields and statuses.

Who may call: *anyone* without a key; *every key*; *owners* see what is theirs (no customer's key); *keepers*
(`proxy_admin`, `internal_user`) change what is theirs, team admins their teams; *all seeing* (`proxy_admin`,
`proxy_admin_viewer`); *admin* (`proxy_admin`).

| LiteLLM's endpoint | here | who may call | what is different |
|---|---|---|---|
"""
_ONLY_HERE = """
## Only here

| endpoint | who may call |
|---|---|
"""

_FREE = "needs no licence"
_SCOPED = "everybody their own spend, team admins their team's"
_PROBES = "nothing is asked of providers, so nothing came of it; `/user/daily/activity` has what failed, by model"
_DAILY = f"{_SCOPED}; `/export` is CSV"
_SSO = "gives a key of one's own, needs no licence; see [sso.md](sso.md)"
_ORGANIZATIONS = "organizations are fields of keys, teams and the ledger, for reports"

#: Endpoints, and what is different: nothing where the text is empty.
LITELLM: dict[str, str] = {
    "POST /key/generate": "a bad `duration` is a 400, not a 500; `model_max_budget`, `tags`, `guardrails`: no licence",
    "GET /key/info": "keys that belong to nobody cannot read each other",
    "POST /v2/key/info": "",
    "POST /key/update": "seen by every worker within a second",
    "POST /key/delete": "all or none; what was spent stays in the ledger",
    "POST /key/block": "refused by every worker within a second",
    "POST /key/unblock": "",
    "POST /key/{key}/regenerate": f"{_FREE}; the key keeps its `token`, limits and spend",
    "POST /key/regenerate": _FREE,
    "POST /key/{key}/reset_spend": "counters follow at once",
    "GET /key/list": "",
    "GET /key/aliases": "",
    "POST /key/bulk_update": "",
    "POST /key/service-account/generate": "",
    "POST /key/health": "",
    "POST /team/new": "`model_max_budget` and `tags` need no licence",
    "GET /team/info": "",
    "POST /team/update": "",
    "PATCH /team/{team_id}": "",
    "POST /team/delete": "all or none",
    "POST /team/block": "refused by every worker within a second",
    "POST /team/unblock": "",
    "POST /team/member_add": f"also as `/team/member/add`; the role `admin` {_FREE}",
    "POST /team/member_update": f"the role `admin` {_FREE}",
    "POST /team/member_delete": "",
    "GET /team/list": "",
    "GET /v2/team/list": "",
    "GET /team/available": "",
    "POST /user/new": "",
    "GET /user/info": "",
    "GET /v2/user/info": "",
    "POST /user/update": "",
    "POST /user/delete": "",
    "GET /user/list": "",
    **{
        f"{method} /{name}/{what}": "blocks, without any hook" if what == "block" else ""
        for name in ("customer", "end_user")
        for method, what in (
            ("POST", "new"), ("GET", "info"), ("POST", "update"), ("POST", "delete"), ("GET", "list"),
            ("POST", "block"), ("POST", "unblock"),
        )
    },
    "GET /tag/list": "",
    **{f"POST /tag/{what}": "" for what in ("new", "info", "update", "delete")},
    "POST /budget/new": "",
    "POST /budget/update": "",
    "POST /budget/info": "",
    "GET /budget/list": "",
    "GET /budget/settings": "what LiteLLM's own pages ask for; `/openapi.json` says it",
    "POST /budget/delete": "",
    "GET /spend/keys": "",
    "GET /spend/users": "",
    "GET /spend/tags": "",
    "GET /spend/logs": _SCOPED,
    "GET /spend/logs/v2": _SCOPED,
    "GET /spend/logs/ui": _SCOPED,
    "GET /spend/logs/ui/{request_id}": "stored masked and encrypted; who reads it is in the audit trail",
    "POST /spend/calculate": "",
    **{
        f"GET /global/spend{what}": "no traceback in an error"
        for what in ("", "/logs", "/keys", "/teams", "/models", "/provider", "/tags", "/all_tag_names")
    },
    "POST /global/spend/end_users": "",
    "GET /global/spend/report": _FREE,
    "GET /key/spend/report": _FREE,
    "GET /team/spend/report": _FREE,
    "GET /user/spend/report": _FREE,
    "GET /organization/spend/report": "`/organization/daily/activity` says it",
    "POST /global/spend/reset": "",
    **{
        f"GET /{whose}/daily/activity{kind}": _DAILY if not kind else ""
        for whose in ("user", "team", "tag", "customer", "organization")
        for kind in ("", "/aggregated", "/keys", "/search", "/export")
    },
    "GET /audit": f"writing it {_FREE}; entries are a chain of hashes; see [audit.md](audit.md)",
    "GET /audit/{id}": "",
    "GET /v1/models": "",
    "GET /models": "",
    "GET /v1/models/{model:path}": "also for keys without a user",
    "GET /models/{model:path}": "also for keys without a user",
    "GET /model/info": "",
    "GET /v1/model/info": "",
    "GET /v2/model/info": "",
    "POST /model/new": "leads to public hosts behind TLS, others by `stored_model_hosts`; the provider's key is sealed",
    "POST /model/update": "",
    "PATCH /model/{model_id}/update": "",
    "POST /model/delete": "",
    "GET /health": "what is configured, without asking (and paying) the providers",
    "GET /health/history": _PROBES,
    "GET /health/latest": _PROBES,
    "GET /health/liveliness": "",
    "GET /health/liveness": "",
    "GET /health/readiness": "",
    "GET /metrics": "the series of all workers",
    "POST /guardrails/apply_guardrail": "",
    "GET /guardrails/list": "",
    "GET /sso/key/generate": _SSO,
    "GET /sso/callback": _SSO,
    "GET /sso/readiness": "",
    "POST /session/logout": "deletes the key of the login",
    "POST /v2/login": "no pages to log in to: keys, the command line and `/docs`",
    "POST /invitation/new": "nobody has a password here",
    "POST /user/password/change": "nobody has a password here",
    "ANY /organization/*": _ORGANIZATIONS,
    "ANY /project/*": "teams and tags do it",
    "ANY /jwt/key/mapping/*": "Envoy verifies tokens itself (`jwt_authn`)",
}  # fmt: skip


def page() -> str:
    """The whole page."""
    rows = "".join(map(_row, LITELLM))
    return f"{_HEAD}{rows}{_ONLY_HERE}" + "".join(
        f"| `{method} {path}` | {who} |\n"
        for (method, path), who in sorted(roles.ROUTES.items(), key=lambda route: (route[0][1], route[0][0]))
        if f"{method} {path}" not in LITELLM
    )


def _row(endpoint: str) -> str:
    method, path = endpoint.split(" ")
    who, different = roles.who_may(method, path), LITELLM[endpoint]
    return f"| `{endpoint}` | {_verdict(who, different)} | {who or ''} | {different} |\n"


def _verdict(who: Who | None, different: str) -> str:
    if who is None:
        return "not here"
    return "better" if different else "same"


def main(write: Annotated[bool, typer.Option(help="Put the table into docs/api.md.")] = False) -> None:
    """Show LiteLLM's management API beside ours."""
    if write:
        PAGE.write_text(page())
    else:
        typer.echo(page())


if __name__ == "__main__":
    typer.run(main)
