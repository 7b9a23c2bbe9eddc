"""`/budget/…`: budgets that keys, end users and tags name; what they do not limit themselves is limited by it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field

from extproc.holds import Scope
from extproc.management.allowances import AllowanceFields
from extproc.management.authentication import AdminRoute, Caller
from extproc.management.changes import changes_of
from extproc.management.documentation import ERRORS
from extproc.management.fields import MAX_LIST, Id, Text
from extproc.management.parts import Parts
from extproc.management.rows import BudgetRow, budget_row
from extproc.management.telling import told_of_all
from extproc.model import Budget

administration = APIRouter(route_class=AdminRoute, tags=["budgets"], responses=ERRORS)


class NewBudget(AllowanceFields):
    """`POST /budget/new`. An empty body makes a budget without limits."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"budget_id": "free-tier", "max_budget": 5.0, "budget_duration": "30d"}]},
    )

    budget_id: Annotated[Id, Field(description="Your own id instead of a random one.")] = None


class UpdateBudget(AllowanceFields):
    """`POST /budget/update`. What is left out stays; null takes a limit away."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"budget_id": "free-tier", "max_budget": 10.0}]}
    )

    budget_id: Text


class AskedBudgets(BaseModel):
    """`POST /budget/info`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"budgets": ["free-tier"]}]})

    budgets: Annotated[list[Text], Field(max_length=MAX_LIST)]


class NamedBudget(BaseModel):
    """`POST /budget/delete`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "free-tier"}]})

    id: Text


#: A body that is left out.
_ANYTHING = NewBudget()


@administration.post("/budget/new", response_model=BudgetRow, summary="Make a budget")
async def new(parts: Parts, caller: Caller, wanted: Annotated[NewBudget, Body()] = _ANYTHING) -> Any:
    """Keys, end users and tags then name it by `budget_id`. Each has the whole budget for itself."""
    now = parts.now()
    budget = Budget(
        id=wanted.budget_id or parts.new_id(),
        created_at=now,
        created_by=caller.user_id,
        updated_at=now,
        updated_by=caller.user_id,
        **changes_of(wanted, Budget, parts),
    )
    async with told_of_all(parts, [_scope(budget.id)]):
        await parts.entities.budgets.create(budget)
    return budget_row(budget)


@administration.post("/budget/update", response_model=BudgetRow | None, summary="Change a budget")
async def update(parts: Parts, caller: Caller, wanted: UpdateBudget) -> Any:
    """What is left out stays as it is. An unknown budget is null, as in LiteLLM."""
    changes = changes_of(wanted, Budget, parts) | {"updated_at": parts.now(), "updated_by": caller.user_id}
    async with told_of_all(parts, [_scope(wanted.budget_id)]):
        budget = await parts.entities.budgets.update(wanted.budget_id, changes)
    return budget_row(budget) if budget else None


@administration.post("/budget/info", response_model=list[BudgetRow], summary="Show budgets")
async def info(parts: Parts, wanted: AskedBudgets) -> Any:
    """Those that exist, the newest first."""
    found = await parts.entities.budgets.list({"id": tuple(wanted.budgets)})
    return [budget_row(budget) for budget in found.rows]


@administration.get("/budget/list", response_model=list[BudgetRow], summary="List budgets")
async def list_budgets(parts: Parts) -> Any:
    """The newest first, at most a thousand."""
    return [budget_row(budget) for budget in (await parts.entities.budgets.list({})).rows]


@administration.post("/budget/delete", response_model=BudgetRow | None, summary="Delete a budget")
async def delete(parts: Parts, caller: Caller, wanted: NamedBudget) -> Any:
    """Whoever names it is limited by their own limits only from now on. An unknown budget is null, as in LiteLLM."""
    budget = await parts.entities.budgets.find(wanted.id)
    async with told_of_all(parts, [_scope(wanted.id)]):
        await parts.entities.budgets.delete([wanted.id], deleted_by=caller.user_id or caller.name, now=parts.now())
    return budget_row(budget) if budget else None


def _scope(budget_id: str) -> Scope:
    """For the caches; nothing is counted under a budget's own name."""
    return Scope("budget", budget_id)
