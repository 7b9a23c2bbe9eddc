"""`extproc teams`, `users`, `customers` and `budgets`: whom limits and budgets hang on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from extproc.cli import asking, persons, tables
from extproc.cli.asking import Yes
from extproc.cli.keys import BudgetDuration, Further, MaxBudget, Models, Rpm, Tpm, fields
from extproc.cli.options import AsJson

teams = asking.group("Make, show, change, block and delete teams, and say who is in them.")
users = asking.group("Make, show, change, block, delete, export and erase users.")
customers = asking.group("Show, block, export and erase customers: whom an application's requests are made for.")
budgets = asking.group("Make and show budgets that keys, customers and tags name.")

_TEAM_COLUMNS = ("team_id", "team_alias", "blocked", "spend", "max_budget", "budget_duration", "models")
_USER_COLUMNS = ("user_id", "user_email", "user_role", "spend", "max_budget", "key_count", "teams")
_CUSTOMER_COLUMNS = ("user_id", "alias", "blocked", "spend", "budget_id")
_BUDGET_COLUMNS = ("budget_id", "max_budget", "soft_budget", "budget_duration", "rpm_limit", "tpm_limit")

Id = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
Ids = Annotated[list[str], typer.Argument(metavar="ID…")]
Role = Annotated[str | None, typer.Option("--role", help="LiteLLM's name of the role.")]


@teams.command("list")
def list_teams(context: typer.Context, as_json: AsJson = False) -> None:
    """All teams."""
    with asking.gateway(context) as gateway:
        tables.show(gateway.get("/team/list"), _TEAM_COLUMNS, as_json=as_json, empty="no teams")


@teams.command("show")
def show_team(context: typer.Context, team: Id, as_json: AsJson = False) -> None:
    """Everything about one team."""
    with asking.gateway(context) as gateway:
        tables.show_one(gateway.get("/team/info", team_id=team)["team_info"], as_json=as_json)


@teams.command("create")
def create_team(  # noqa: PLR0913, PLR0917 - the options of a command
    context: typer.Context,
    alias: Annotated[str | None, typer.Option("--alias", help="A name for people.")] = None,
    models: Models = None,
    max_budget: MaxBudget = None,
    budget_duration: BudgetDuration = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    further: Further = None,
    as_json: AsJson = False,
) -> None:
    """Make a team."""
    body = fields(
        further, team_alias=alias, models=models, max_budget=max_budget, budget_duration=budget_duration,
        rpm_limit=rpm, tpm_limit=tpm,
    )  # fmt: skip
    with asking.gateway(context) as gateway:
        made = gateway.post("/team/new", body)
    tables.show_made(made, made["team_id"], as_json=as_json)


@teams.command("update")
def update_team(
    context: typer.Context, team: Id, max_budget: MaxBudget = None, further: Further = None, as_json: AsJson = False
) -> None:
    """Change a team; what is not named stays as it is."""
    with asking.gateway(context) as gateway:
        changed = gateway.post("/team/update", fields(further, team_id=team, max_budget=max_budget))
    tables.show_one(changed["data"], as_json=as_json)


@teams.command("block")
def block_team(context: typer.Context, team: Id) -> None:
    """Refuse every key of a team from now on."""
    _tell(context, "/team/block", {"team_id": team}, f"{team}: blocked")


@teams.command("unblock")
def unblock_team(context: typer.Context, team: Id) -> None:
    """Admit the keys of a blocked team again."""
    _tell(context, "/team/unblock", {"team_id": team}, f"{team}: unblocked")


@teams.command("delete")
def delete_teams(context: typer.Context, ids: Ids, yes: Yes = False) -> None:
    """Delete teams with their keys."""
    asking.sure(f"Delete {len(ids)} team(s) with all their keys?", yes=yes)
    _tell(context, "/team/delete", {"team_ids": ids}, f"{len(ids)} deleted")


@teams.command("add-member")
def add_member(
    context: typer.Context,
    team: Id,
    user: Annotated[str, typer.Argument(metavar="USER")],
    role: Role = "user",
    max_budget: MaxBudget = None,
) -> None:
    """Put a user into a team; an unknown user is made."""
    body = fields(None, team_id=team, member={"user_id": user, "role": role}, max_budget_in_team=max_budget)
    _tell(context, "/team/member_add", body, f"{user} is in {team}")


@teams.command("remove-member")
def remove_member(context: typer.Context, team: Id, user: Annotated[str, typer.Argument(metavar="USER")]) -> None:
    """Take a user out of a team, with the keys that they have in it."""
    body = {"team_id": team, "user_id": user}
    _tell(context, "/team/member_delete", body, f"{user} is not in {team} any more")


@users.command("list")
def list_users(context: typer.Context, role: Role = None, as_json: AsJson = False) -> None:
    """All users."""
    with asking.gateway(context) as gateway:
        found = gateway.pages("/user/list", "users", "total", "page_size", role=role)
        tables.show(found, _USER_COLUMNS, as_json=as_json, empty="no users")


@users.command("show")
def show_user(context: typer.Context, user: Id, as_json: AsJson = False) -> None:
    """Everything about one user; with --json also their keys and teams."""
    with asking.gateway(context) as gateway:
        found = gateway.get("/user/info", user_id=user)
    tables.show_one(found if as_json else found["user_info"], as_json=as_json)


@users.command("create")
def create_user(
    context: typer.Context,
    user: Annotated[str | None, typer.Argument(metavar="[ID]", show_default=False)] = None,
    email: Annotated[str | None, typer.Option("--email")] = None,
    role: Role = None,
    max_budget: MaxBudget = None,
    further: Further = None,
    as_json: AsJson = False,
) -> None:
    """Make a user, and a first key for them unless `--set auto_create_key=false`."""
    body = fields(further, user_id=user, user_email=email, user_role=role, max_budget=max_budget)
    with asking.gateway(context) as gateway:
        made = gateway.post("/user/new", body)
    tables.show_made(made, f"{made['user_id']}  {made.get('key') or ''}".rstrip(), as_json=as_json)


@users.command("update")
def update_user(
    context: typer.Context, user: Id, role: Role = None, further: Further = None, as_json: AsJson = False
) -> None:
    """Change a user; what is not named stays as it is."""
    with asking.gateway(context) as gateway:
        changed = gateway.post("/user/update", fields(further, user_id=user, user_role=role))
    tables.show_one(changed["data"], as_json=as_json)


@users.command("block")
def block_user(context: typer.Context, user: Id) -> None:
    """Refuse every key of a user from now on."""
    _tell(context, "/user/block", {"user_id": user}, f"{user}: blocked")


@users.command("unblock")
def unblock_user(context: typer.Context, user: Id) -> None:
    """Admit the keys of a blocked user again."""
    _tell(context, "/user/unblock", {"user_id": user}, f"{user}: unblocked")


@users.command("delete")
def delete_users(context: typer.Context, ids: Ids, yes: Yes = False) -> None:
    """Delete users with their keys."""
    asking.sure(f"Delete {len(ids)} user(s) with all their keys?", yes=yes)
    with asking.gateway(context) as gateway:
        typer.echo(f"{gateway.post('/user/delete', {'user_ids': ids})} deleted")


@users.command("export")
def export_user(context: typer.Context, user: Id, output: persons.Output = None) -> None:
    """All that is kept of a user, named by id or e-mail address, as one JSON object."""
    persons.export(context, "user", user, output)


@users.command("erase")
def erase_user(context: typer.Context, user: Id, receipt: persons.Receipt = None, yes: Yes = False) -> None:
    """Erase a user, named by id or e-mail address, with keys and personal data. Prints the receipt and keeps it."""
    persons.erase(context, "user", user, receipt, yes=yes)


@customers.command("list")
def list_customers(context: typer.Context, as_json: AsJson = False) -> None:
    """All customers that have been given a name or a budget."""
    with asking.gateway(context) as gateway:
        tables.show(gateway.get("/customer/list"), _CUSTOMER_COLUMNS, as_json=as_json, empty="no customers")


@customers.command("block")
def block_customers(context: typer.Context, ids: Ids) -> None:
    """Refuse requests for these customers from now on."""
    _tell(context, "/customer/block", {"user_ids": ids}, f"{len(ids)} blocked")


@customers.command("unblock")
def unblock_customers(context: typer.Context, ids: Ids) -> None:
    """Admit requests for blocked customers again."""
    _tell(context, "/customer/unblock", {"user_ids": ids}, f"{len(ids)} unblocked")


@customers.command("export")
def export_customer(context: typer.Context, customer: Id, output: persons.Output = None) -> None:
    """All that is kept of a customer, as one JSON object."""
    persons.export(context, "customer", customer, output)


@customers.command("erase")
def erase_customer(context: typer.Context, customer: Id, receipt: persons.Receipt = None, yes: Yes = False) -> None:
    """Erase a customer: the account, and the name in all that was used. Prints the receipt and keeps it."""
    persons.erase(context, "customer", customer, receipt, yes=yes)


@budgets.command("list")
def list_budgets(context: typer.Context, as_json: AsJson = False) -> None:
    """All budgets."""
    with asking.gateway(context) as gateway:
        tables.show(gateway.get("/budget/list"), _BUDGET_COLUMNS, as_json=as_json, empty="no budgets")


@budgets.command("create")
def create_budget(
    context: typer.Context,
    budget: Annotated[str | None, typer.Argument(metavar="[ID]", show_default=False)] = None,
    max_budget: MaxBudget = None,
    budget_duration: BudgetDuration = None,
    further: Further = None,
) -> None:
    """Make a budget."""
    body = fields(further, budget_id=budget, max_budget=max_budget, budget_duration=budget_duration)
    with asking.gateway(context) as gateway:
        typer.echo(gateway.post("/budget/new", body)["budget_id"])


def _tell(context: typer.Context, path: str, body: dict[str, Any], done: str) -> None:
    """Ask the gateway to do something whose answer says no more than that it is done."""
    with asking.gateway(context) as gateway:
        gateway.post(path, body)
    typer.echo(done)
