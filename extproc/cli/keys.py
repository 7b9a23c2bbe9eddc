"""`extproc keys`: virtual keys of a running gateway."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from extproc.cli import asking, tables
from extproc.cli.asking import Yes
from extproc.cli.options import AsJson
from extproc.errors import ConfigError

app = asking.group("Make, show, change, block and delete virtual keys.")

_COLUMNS = ("key_alias", "key_name", "status", "user_id", "team_id", "spend", "max_budget", "models", "expires")

_SUSPICIOUS_COLUMNS = ("score", "key_alias", "token", "user_id", "team_id", "requests", "spend", "reasons")

_KEY = "A key itself, or its hash: its `token` in what --json shows."
Key = Annotated[str, typer.Argument(metavar="KEY", help=_KEY, show_default=False)]
Keys = Annotated[list[str], typer.Argument(metavar="KEY…", help=_KEY)]
Alias = Annotated[str | None, typer.Option("--alias", help="A name for people; no two keys share one.")]
Team = Annotated[str | None, typer.Option("--team", metavar="ID", help="The team that the key belongs to.")]
User = Annotated[str | None, typer.Option("--user", metavar="ID", help="The user that the key belongs to.")]
Models = Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help="A model it may use; repeat it.")]
MaxBudget = Annotated[float | None, typer.Option("--max-budget", metavar="DOLLARS", min=0)]
BudgetDuration = Annotated[str | None, typer.Option("--budget-duration", metavar="30d")]
Rpm = Annotated[int | None, typer.Option("--rpm", min=0, help="Requests in a minute.")]
Tpm = Annotated[int | None, typer.Option("--tpm", min=0, help="Tokens in a minute.")]
Further = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Any field of the API; the value is JSON or a text."),
]


def fields(further: list[str] | None, **named: Any) -> dict[str, Any]:
    """The fields that were given. Raises `ConfigError` for a `--set` without `=`."""
    given = {name: value for name, value in named.items() if value is not None and value != []}
    for each in further or ():
        name, found, value = each.partition("=")
        if not found or not name:
            raise ConfigError(f"--set {each}: write it as FIELD=VALUE")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


@app.command("list")
def list_keys(
    context: typer.Context,
    alias: Annotated[str | None, typer.Option("--search", help="A part of the alias.")] = None,
    team: Team = None,
    user: User = None,
    as_json: AsJson = False,
) -> None:
    """All keys, the newest first."""
    with asking.gateway(context) as gateway:
        query = {"search": alias, "team_id": team, "user_id": user, "return_full_object": "true"}
        found = gateway.pages("/key/list", "keys", "total_count", "size", **query)
        tables.show(found, _COLUMNS, as_json=as_json, empty="no keys")


@app.command()
def show(context: typer.Context, key: Key, as_json: AsJson = False) -> None:
    """Everything about one key, but the key itself."""
    with asking.gateway(context) as gateway:
        tables.show_one(gateway.get("/key/info", key=key)["info"], as_json=as_json)


@app.command()
def create(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    alias: Alias = None,
    team: Team = None,
    user: User = None,
    models: Models = None,
    max_budget: MaxBudget = None,
    budget_duration: BudgetDuration = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    duration: Annotated[str | None, typer.Option("--duration", metavar="30d", help="How long it is valid.")] = None,
    further: Further = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown now and never again."""
    body = fields(
        further, key_alias=alias, team_id=team, user_id=user, models=models, max_budget=max_budget,
        budget_duration=budget_duration, rpm_limit=rpm, tpm_limit=tpm, duration=duration,
    )  # fmt: skip
    with asking.gateway(context) as gateway:
        made = gateway.post("/key/generate", body)
    tables.show_made(made, made["key"], as_json=as_json)


@app.command()
def update(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    key: Key,
    alias: Alias = None,
    models: Models = None,
    max_budget: MaxBudget = None,
    budget_duration: BudgetDuration = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    further: Further = None,
    as_json: AsJson = False,
) -> None:
    """Change a key; what is not named stays as it is. `--set max_budget=null` takes a budget away."""
    body = fields(
        further, key=key, key_alias=alias, models=models, max_budget=max_budget, budget_duration=budget_duration,
        rpm_limit=rpm, tpm_limit=tpm,
    )  # fmt: skip
    with asking.gateway(context) as gateway:
        changed = gateway.post("/key/update", body)
    tables.show_one({name: value for name, value in changed.items() if name != "key"}, as_json=as_json)


@app.command()
def block(context: typer.Context, keys: Keys) -> None:
    """Refuse keys from now on, everywhere."""
    with asking.gateway(context) as gateway:
        for key in keys:
            typer.echo(f"{gateway.post('/key/block', {'key': key})['key_name']}: blocked")


@app.command()
def unblock(context: typer.Context, keys: Keys) -> None:
    """Admit blocked keys again."""
    with asking.gateway(context) as gateway:
        for key in keys:
            typer.echo(f"{gateway.post('/key/unblock', {'key': key})['key_name']}: unblocked")


@app.command()
def delete(context: typer.Context, keys: Keys, yes: Yes = False) -> None:
    """Delete keys for good. What they spent stays in the ledger."""
    asking.sure(f"Delete {len(keys)} key(s) for good?", yes=yes)
    with asking.gateway(context) as gateway:
        typer.echo(f"{len(gateway.post('/key/delete', {'keys': keys})['deleted_keys'])} deleted")


@app.command()
def regenerate(
    context: typer.Context,
    key: Key,
    grace_period: Annotated[
        str | None, typer.Option("--grace-period", metavar="24h", help="How long the old key goes on working.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret. It is shown now and never again; the old one is refused, at once or after the grace."""
    with asking.gateway(context) as gateway:
        made = gateway.post("/key/regenerate", fields(None, key=key, grace_period=grace_period))
    tables.show_made(made, made["key"], as_json=as_json)


@app.command()
def suspicious(
    context: typer.Context,
    hours: Annotated[int, typer.Option("--hours", min=1, max=168, help="How far to look back.")] = 1,
    threshold: Annotated[
        float, typer.Option("--threshold", min=0, metavar="DOLLARS", help="What no key should spend in these hours.")
    ] = 100.0,
    everything: Annotated[bool, typer.Option("--all", help="Show keys without a reason, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keys that behave as a stolen one would, the most suspicious first, with the reasons."""
    with asking.gateway(context) as gateway:
        query = {"hours": hours, "threshold": threshold, "all": "true" if everything else None}
        found = gateway.get("/extproc/suspicious-keys", **query)
    tables.show(found, _SUSPICIOUS_COLUMNS, as_json=as_json, empty="nothing suspicious")
