"""`/tag/…`: budgets of the words that requests are tagged with."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from extproc.holds import Scope
from extproc.management.allowances import AllowanceColumns, AllowanceFields, shown
from extproc.management.authentication import AdminRoute, Caller
from extproc.management.changes import changes_of
from extproc.management.documentation import ERRORS
from extproc.management.errors import bad_request, not_found
from extproc.management.fields import MAX_LIST, Id, Text, Texts
from extproc.management.moments import iso
from extproc.management.money import Dollars, to_dollars
from extproc.management.parts import ManagementParts, Parts
from extproc.management.rows import BudgetRow, budget_row
from extproc.management.telling import told_of, told_of_all
from extproc.model import Tag

administration = APIRouter(route_class=AdminRoute, tags=["tags"], responses=ERRORS)

Name = Annotated[Text, Field(min_length=1)]


class TagFields(AllowanceFields):
    """Everything that may be said of a tag."""

    name: Annotated[Name, Field(description="As requests carry it, in `metadata.tags` or `x-litellm-tags`.")]
    description: Text | None = None
    models: Texts | None = None
    spend: Dollars | None = None
    budget_id: Annotated[Id, Field(description="A budget whose limits count where the tag has none.")] = None


class NewTag(TagFields):
    """`POST /tag/new`."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={"examples": [{"name": "batch-jobs", "max_budget": 50.0, "budget_duration": "7d"}]},
    )


class UpdateTag(TagFields):
    """`POST /tag/update`. What is left out stays; null takes a limit or a budget away."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra={"examples": [{"name": "batch-jobs", "max_budget": 100.0}]}
    )


class AskedTags(BaseModel):
    """`POST /tag/info`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"names": ["batch-jobs"]}]})

    names: Annotated[list[Name], Field(max_length=MAX_LIST)]


class NamedTag(BaseModel):
    """`POST /tag/delete`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "batch-jobs"}]})

    name: Name


class TagColumns(BaseModel):
    """What most people look for."""

    name: str
    description: str | None
    models: list[str]
    spend: float
    budget_id: str | None
    created_at: str
    created_by: str | None
    updated_at: str
    litellm_budget_table: BudgetRow | AllowanceColumns | None


class TagRow(AllowanceColumns, TagColumns):
    """A tag; `litellm_budget_table` is the named budget, or limits of the tag's own."""


class ChangedTag(BaseModel):
    """What was done, and the tag as it is now."""

    message: str
    tag: TagRow


class Done(BaseModel):
    """What was done."""

    message: str


@administration.post("/tag/new", response_model=ChangedTag, summary="Give a tag a budget")
async def new(parts: Parts, caller: Caller, wanted: NewTag) -> Any:
    """Tags that have no limits need not be made."""
    changes = changes_of(wanted, Tag, parts)
    await _check_budget(parts, wanted.budget_id)
    tag = Tag(created_at=parts.now(), created_by=caller.user_id, updated_at=parts.now(), **changes)
    async with told_of_all(parts, [_scope(tag.name)]):
        await parts.entities.tags.create(tag)
    shown_tag = await parts.entities.tags.find(tag.name) or tag
    return {"message": f"Tag {tag.name} created successfully", "tag": _row(shown_tag)}


@administration.post("/tag/info", response_model=dict[str, TagRow], summary="Show tags")
async def info(parts: Parts, wanted: AskedTags) -> Any:
    """By name, those that exist; a 404 where none does."""
    found = await parts.entities.tags.list({"name": tuple(wanted.names)})
    if wanted.names and not found.rows:
        raise not_found("tag", ", ".join(wanted.names[:10]))
    return {tag.name: _row(tag) for tag in found.rows}


@administration.get("/tag/list", response_model=list[TagRow], summary="List tags")
async def list_tags(parts: Parts) -> Any:
    """The newest first, at most a thousand."""
    return [_row(tag) for tag in (await parts.entities.tags.list({})).rows]


@administration.post("/tag/update", response_model=ChangedTag, summary="Change a tag")
async def update(parts: Parts, wanted: UpdateTag) -> Any:
    """What is left out stays as it is."""
    changes = changes_of(wanted, Tag, parts)
    del changes["name"]
    await _check_budget(parts, wanted.budget_id)
    async with told_of(parts, _scope(wanted.name), changes=changes):
        tag = await parts.entities.tags.update(wanted.name, {**changes, "updated_at": parts.now()})
    if tag is None:
        raise not_found("tag", wanted.name)
    return {"message": f"Tag {tag.name} updated successfully", "tag": _row(tag)}


@administration.post("/tag/delete", response_model=Done, summary="Delete a tag")
async def delete(parts: Parts, caller: Caller, wanted: NamedTag) -> Any:
    """Its limits are gone; what was spent stays in the ledger."""
    async with told_of_all(parts, [_scope(wanted.name)]):
        deleted = await parts.entities.tags.delete(
            [wanted.name], deleted_by=caller.user_id or caller.name, now=parts.now()
        )
    if not deleted:
        raise not_found("tag", wanted.name)
    return {"message": f"Tag {wanted.name} deleted successfully"}


async def _check_budget(parts: ManagementParts, budget_id: str | None) -> None:
    if budget_id is not None and await parts.entities.budgets.find(budget_id) is None:
        raise bad_request(f"Budget {budget_id} does not exist.", "budget_id")


def _row(tag: Tag) -> dict[str, Any]:
    """The columns of `TagRow`."""
    own = shown(tag)
    return {
        "name": tag.name,
        "description": tag.description,
        "models": [*tag.models],
        "spend": to_dollars(tag.spend),
        "budget_id": tag.budget_id,
        **own,
        "created_at": iso(tag.created_at),
        "created_by": tag.created_by,
        "updated_at": iso(tag.updated_at),
        "litellm_budget_table": budget_row(tag.budget) if tag.budget else own if any(own.values()) else None,
    }


def _scope(name: str) -> Scope:
    return Scope("tag", name)
