"""`/customer/…`, also called `/end_user/…`: whom an application's requests are made for.

Here a block blocks: LiteLLM stores it and lets the requests pass. `persons.py` erases customers and hands out what is
kept of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from extproc.errors import AlreadyExists
from extproc.holds import Scope
from extproc.management.allowances import AllowanceColumns, AllowanceFields, shown
from extproc.management.authentication import AdminRoute, Caller
from extproc.management.changes import changes_of, for_new
from extproc.management.documentation import ERRORS
from extproc.management.errors import bad_request, not_found
from extproc.management.fields import MAX_LIST, Id, Text, Texts
from extproc.management.moments import iso
from extproc.management.money import Dollars, to_dollars
from extproc.management.parts import ManagementParts, Parts
from extproc.management.rows import BudgetRow, budget_row
from extproc.management.telling import told_of, told_of_all
from extproc.model import EndUser

administration = APIRouter(route_class=AdminRoute, tags=["customers"], responses=ERRORS)


class CustomerFurther(BaseModel):
    """Fields of a customer that are stored and shown as they were sent."""

    allowed_model_region: Literal["eu", "us"] | None = None
    default_model: Id = None
    object_permission: dict[str, Any] | None = None


class CustomerFields(CustomerFurther, AllowanceFields):
    """Everything that may be said of a customer."""

    user_id: Annotated[Text, Field(min_length=1, description="As applications send it, in `user`.")]
    alias: Id = None
    blocked: bool | None = None
    spend: Dollars | None = None
    budget_id: Annotated[Id, Field(description="A budget, instead of limits of the customer's own.")] = None
    models: Annotated[Texts | None, Field(description="Models for this customer; none is all.")] = None

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if self.budget_id is not None and self.max_budget is not None:
            raise PydanticCustomError("value_error", "Set either max_budget or budget_id, not both.")
        return self


class NewCustomer(CustomerFields):
    """`POST /customer/new`."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"user_id": "customer-1", "max_budget": 5.0, "budget_duration": "30d"}]},
    )


class UpdateCustomer(CustomerFields):
    """`POST /customer/update`. What is left out stays; null takes a limit, a budget or an id away."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"user_id": "customer-1", "max_budget": 10.0}]}
    )


class NamedCustomers(BaseModel):
    """`POST /customer/delete`, `/customer/block` and `/customer/unblock`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_ids": ["customer-1"]}]})

    user_ids: Annotated[list[Annotated[Text, Field(min_length=1)]], Field(min_length=1, max_length=MAX_LIST)]


class CustomerColumns(BaseModel):
    """What most people look for."""

    user_id: str
    alias: str | None
    blocked: bool
    spend: float
    models: list[str]
    budget_id: str | None
    created_at: str
    updated_at: str
    litellm_budget_table: BudgetRow | AllowanceColumns | None


class CustomerRow(CustomerFurther, AllowanceColumns, CustomerColumns):
    """A customer; `litellm_budget_table` is the named budget, or limits of the customer's own."""


class DeletedCustomers(BaseModel):
    """`POST /customer/delete`."""

    deleted_customers: int
    message: str


class BlockedCustomers(BaseModel):
    """Who is blocked from now on."""

    blocked_users: list[CustomerRow]


class UnblockedCustomers(BaseModel):
    """Who is admitted again; of those that were named nobody is blocked any more."""

    blocked_users: list[CustomerRow]
    unblocked_users: list[CustomerRow]


@administration.post("/customer/new", response_model=CustomerRow, summary="Make a customer")
@administration.post("/end_user/new", response_model=CustomerRow, include_in_schema=False)
async def new(parts: Parts, wanted: NewCustomer) -> Any:
    """Customers that have no limits need not be made."""
    changes = for_new(changes_of(wanted, EndUser, parts, further=CustomerFurther))
    return customer_row(await _make(parts, wanted.user_id, changes))


@administration.get("/customer/info", response_model=CustomerRow, summary="Show a customer")
@administration.get("/end_user/info", response_model=CustomerRow, include_in_schema=False)
async def info(parts: Parts, end_user_id: Annotated[str, Query(max_length=256)]) -> Any:
    """With all that was booked for them since they were made, or since `spend` was set."""
    found = await parts.entities.end_users.find(end_user_id)
    if found is None:
        raise not_found("end_user", end_user_id)
    return customer_row(found)


@administration.post("/customer/update", response_model=CustomerRow, summary="Change a customer")
@administration.post("/end_user/update", response_model=CustomerRow, include_in_schema=False)
async def update(parts: Parts, wanted: UpdateCustomer) -> Any:
    """What is left out stays as it is."""
    changes = changes_of(wanted, EndUser, parts, further=CustomerFurther)
    if wanted.budget_id is not None:
        await _check_budget(parts, wanted.budget_id)
    changed = await _change(parts, wanted.user_id, changes)
    if changed is None:
        raise not_found("end_user", wanted.user_id)
    return customer_row(changed)


@administration.post("/customer/delete", response_model=DeletedCustomers, summary="Delete customers")
@administration.post("/end_user/delete", response_model=DeletedCustomers, include_in_schema=False)
async def delete(parts: Parts, caller: Caller, wanted: NamedCustomers) -> Any:
    """All of them or, if one is unknown, none. Their limits are gone; what was spent stays in the ledger."""
    async with told_of_all(parts, (_scope(user_id) for user_id in wanted.user_ids)):
        deleted = await parts.entities.end_users.delete(
            wanted.user_ids, deleted_by=caller.user_id or caller.name, now=parts.now()
        )
    if not deleted:
        raise not_found("end_user", ", ".join(wanted.user_ids[:10]))
    return {
        "deleted_customers": len(deleted),
        "message": f"Successfully deleted customers with ids: {', '.join(deleted)}",
    }


@administration.get("/customer/list", response_model=list[CustomerRow], summary="List customers")
@administration.get("/end_user/list", response_model=list[CustomerRow], include_in_schema=False)
async def list_customers(parts: Parts) -> Any:
    """The newest first, at most a thousand."""
    return [customer_row(found) for found in (await parts.entities.end_users.list({})).rows]


@administration.post("/customer/block", response_model=BlockedCustomers, summary="Refuse customers from now on")
@administration.post("/end_user/block", response_model=BlockedCustomers, include_in_schema=False)
async def block(parts: Parts, wanted: NamedCustomers) -> Any:
    """Every worker refuses their requests at once, with a 400 of the type `end_user_blocked`. Unknown ones are made."""
    return {"blocked_users": [customer_row(await _block(parts, user_id)) for user_id in dict.fromkeys(wanted.user_ids)]}


@administration.post("/customer/unblock", response_model=UnblockedCustomers, summary="Admit blocked customers again")
@administration.post("/end_user/unblock", response_model=UnblockedCustomers, include_in_schema=False)
async def unblock(parts: Parts, wanted: NamedCustomers) -> Any:
    """Unknown ones are not blocked, and left out of the answer."""
    changed = [await _change(parts, user_id, {"blocked": False}) for user_id in dict.fromkeys(wanted.user_ids)]
    return {"blocked_users": [], "unblocked_users": [customer_row(found) for found in changed if found is not None]}


async def _make(parts: ManagementParts, user_id: str, changes: dict[str, Any]) -> EndUser:
    now, budget_id = parts.now(), changes.get("budget_id")
    if budget_id is not None:
        await _check_budget(parts, budget_id)
    async with told_of_all(parts, [_scope(user_id)]):
        await parts.entities.end_users.create(EndUser(id=user_id, created_at=now, updated_at=now, **changes))
    made = await parts.entities.end_users.find(user_id)
    if made is None:
        raise not_found("end_user", user_id)
    return made


async def _change(parts: ManagementParts, user_id: str, changes: dict[str, Any]) -> EndUser | None:
    async with told_of(parts, _scope(user_id), changes=changes):
        return await parts.entities.end_users.update(user_id, {**changes, "updated_at": parts.now()})


async def _block(parts: ManagementParts, user_id: str) -> EndUser:
    """Block whoever it is, also somebody who was never heard of."""
    blocked = await _change(parts, user_id, {"blocked": True})
    if blocked is None:
        try:
            blocked = await _make(parts, user_id, {"blocked": True})
        except AlreadyExists:
            blocked = await _change(parts, user_id, {"blocked": True})
    if blocked is None:
        raise not_found("end_user", user_id)
    return blocked


async def _check_budget(parts: ManagementParts, budget_id: str) -> None:
    if await parts.entities.budgets.find(budget_id) is None:
        raise bad_request(f"Budget {budget_id} does not exist.", "budget_id")


def customer_row(end_user: EndUser) -> dict[str, Any]:
    """The columns of `CustomerRow`."""
    own = shown(end_user)
    limited = any(own.values())
    return {
        **CustomerFurther.model_construct().model_dump(),
        **end_user.fields,
        "user_id": end_user.id,
        "alias": end_user.alias,
        "blocked": end_user.blocked,
        "spend": to_dollars(end_user.spend),
        "models": [*end_user.models],
        "budget_id": end_user.budget_id,
        **own,
        "created_at": iso(end_user.created_at),
        "updated_at": iso(end_user.updated_at),
        "litellm_budget_table": budget_row(end_user.budget) if end_user.budget else own if limited else None,
    }


def _scope(user_id: str) -> Scope:
    return Scope("end_user", user_id)
