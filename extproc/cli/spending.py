"""`extproc spend`, `audit` and `models`: what a running gateway knows of spend, of changes, and of what it serves.

Days are UTC, as in the ledger. Sums come from the daily activity, which shows every caller what it may see; without
days they are of the last thirty. An export is written as it comes, and is in its file only when it is whole.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from extproc.cli import asking, persons, tables
from extproc.cli.asking import Gateway
from extproc.cli.keys import fields
from extproc.cli.options import AsJson

spend = asking.group("Show what was spent, by whom and on what.")
audit = asking.group("Show and export who changed what.")
models = asking.group("Show the models that are served.")

_DAYS = 30
_PAGE = 1_000
_MEASURES = ("spend", "api_requests", "failed_requests", "prompt_tokens", "completion_tokens")
#: Where the sums of a range are listed by name, and the columns that name them.
_LISTED = {
    "key": ("/user/daily/activity/keys", ("key_alias", "api_key", "team_id")),
    "team": ("/team/daily/activity/search", ("team_id",)),
    "user": ("/user/daily/activity/search", ("user_id",)),
    "tag": ("/tag/daily/activity/search", ("tag",)),
}
_LOG_COLUMNS = (
    "startTime", "status", "model_group", "key", "user", "team_id", "prompt_tokens", "completion_tokens", "spend",
    "request_id",
)  # fmt: skip
_AUDIT_COLUMNS = ("updated_at", "changed_by", "action", "table_name", "object_id", "source_ip", "id")
_MODEL_COLUMNS = ("model_name", "model", "id", "stored")

Since = Annotated[str | None, typer.Option("--since", metavar="DAY", help="The first day, UTC: YYYY-MM-DD.")]
Until = Annotated[str | None, typer.Option("--until", metavar="DAY", help="The last day, which counts whole.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The most rows to show.")]
By = Annotated[str | None, typer.Option("--by", metavar="WHO", help="Whoever made the change.")]
Action = Annotated[str | None, typer.Option("--action", help="created, updated, deleted, blocked, …")]
Object = Annotated[str | None, typer.Option("--object", metavar="ID", help="What was changed.")]
Search = Annotated[str | None, typer.Option("--search", metavar="TEXT", help="A part of a name, an id or a value.")]


@spend.command("by")
def by_name(
    context: typer.Context,
    what: Annotated[Literal["key", "team", "user", "model", "tag", "day"], typer.Argument(show_default=False)],
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Add up a range by key, team, user, model, tag or day; the dearest first, days in their order."""
    columns = _LISTED[what][1] if what in _LISTED else (what,)
    with asking.gateway(context) as gateway:
        rows = _listed(gateway, what, _range(since, until))
        tables.show(rows, (*columns, *_MEASURES), as_json=as_json, empty="nothing was spent")


@spend.command()
def logs(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    since: Since = None,
    until: Until = None,
    key: Annotated[str | None, typer.Option("--of-key", metavar="KEY", help="A key itself, or its hash.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="ID")] = None,
    team: Annotated[str | None, typer.Option("--team", metavar="ID")] = None,
    customer: Annotated[str | None, typer.Option("--customer", metavar="ID")] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="As clients ask for it.")] = None,
    status: Annotated[Literal["success", "failure"] | None, typer.Option("--status")] = None,
    request: Annotated[str | None, typer.Option("--request", metavar="ID", help="Any of a request's ids.")] = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Requests and what they cost, the newest first; without days those of the last 24 hours."""
    query = {
        "start_date": since, "end_date": until, "api_key": key, "user_id": user, "team_id": team,
        "end_user": customer, "model": model, "status_filter": status, "request_id": request,
    }  # fmt: skip
    with asking.gateway(context) as gateway:
        found = gateway.pages("/spend/logs/v2", "data", "total", "page_size", **fields(None, **query))
        rows = ({**row, "key": _key(row)} for row in itertools.islice(found, limit))
        tables.show(rows, _LOG_COLUMNS, as_json=as_json, empty="no requests")


@audit.command("list")
def list_audit(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    since: Since = None,
    until: Until = None,
    by: By = None,
    action: Action = None,
    changed: Object = None,
    search: Search = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """Changes, and who made them, the newest first."""
    query = _audited(since, until, by, action, changed, search)
    with asking.gateway(context) as gateway:
        found = gateway.pages("/audit", "audit_logs", "total", "page_size", **query)
        tables.show(itertools.islice(found, limit), _AUDIT_COLUMNS, as_json=as_json, empty="no changes")


@audit.command("export")
def export_audit(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", show_default=False)] = None,
    since: Since = None,
    until: Until = None,
    by: By = None,
    action: Action = None,
    changed: Object = None,
    search: Search = None,
) -> None:
    """Changes as JSON lines, the oldest first, to a file for its owner only, or to stdout."""
    query = _audited(since, until, by, action, changed, search)
    with asking.gateway(context) as gateway, gateway.stream("/audit/export", **query) as pieces:
        persons.save(pieces, file)


@models.command("list")
def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """All models that the key may use, and where they lead."""
    with asking.gateway(context) as gateway:
        found = gateway.get("/model/info")["data"]
    rows = [
        {**row, "model": row["litellm_params"]["model"], "id": row["model_info"]["id"],
         "stored": row["model_info"].get("db_model", False)}
        for row in found
    ]  # fmt: skip
    tables.show(rows, _MODEL_COLUMNS, as_json=as_json, empty="no models")


def _listed(gateway: Gateway, what: str, days: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A row for each name."""
    if what in _LISTED:
        return _pages(gateway, _LISTED[what][0], days)
    found = gateway.get("/user/daily/activity/aggregated", **days)["results"]
    if what == "day":
        return ({"day": row["date"], **row["metrics"]} for row in reversed(found))
    totals: dict[str, dict[str, Any]] = {}
    for day in found:
        for name, row in day["breakdown"]["model_groups"].items():
            held = totals.setdefault(name, dict.fromkeys(row["metrics"], 0))
            totals[name] = {measure: held[measure] + value for measure, value in row["metrics"].items()}
    dearest = sorted(totals, key=lambda name: (-totals[name]["spend"], name))
    return ({"model": name, **totals[name]} for name in dearest)


def _pages(gateway: Gateway, path: str, days: dict[str, str]) -> Iterator[dict[str, Any]]:
    for page in itertools.count(1):
        answer = gateway.get(path, page=page, page_size=_PAGE, **days)
        for row in answer["results"]:
            measured = row.pop("metrics")
            yield {**row, **measured}
        if not answer["metadata"]["has_more"]:
            return


def _range(since: str | None, until: str | None) -> dict[str, str]:
    """The days that are asked for; of the last thirty what is not told."""
    today = datetime.now(UTC).date()
    first = (today - timedelta(days=_DAYS - 1)).isoformat()
    return {"start_date": since or min(first, until or first), "end_date": until or today.isoformat()}


def _audited(
    since: str | None, until: str | None, by: str | None, action: str | None, changed: str | None, search: str | None
) -> dict[str, Any]:
    return fields(
        None, start_date=since, end_date=until, changed_by=by, action=action, object_id=changed, search=search
    )


def _key(row: dict[str, Any]) -> str:
    """The alias of a request's key, else the beginning of its hash."""
    return row["metadata"].get("user_api_key_alias") or str(row["api_key"])[:12]
