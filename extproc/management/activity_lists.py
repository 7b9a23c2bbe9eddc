"""`/{user,team,tag,customer,organization}/daily/activity/keys` and `/search`: who spent in a range, the dearest first.

Sums of the whole range, one row for each key, or for each name that has a text in it. They are bounded as the daily
activity is: by what the caller sees, and by how much one answer may hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from extproc.management.activity import KINDS, ActivityQuery, filter_of
from extproc.management.authentication import AnyKeyRoute, Seen
from extproc.management.documentation import ERRORS
from extproc.management.parts import Parts
from extproc.management.spend_days import UNKNOWN_KEY, keys_named, metrics, plus, sums
from extproc.stores.spending import SpendSum

reading = APIRouter(route_class=AnyKeyRoute, tags=["spend"], responses=ERRORS)


class SearchQuery(ActivityQuery):
    """The same, and a part of the names that are wanted."""

    search: Annotated[str, Field(max_length=256)] = ""


def _page(found: list[SpendSum], query: ActivityQuery) -> tuple[list[SpendSum], dict[str, Any]]:
    """The rows of a page, the dearest first, and LiteLLM's words about pages."""
    pages = max(1, -(-len(found) // query.page_size))
    dearest = sorted(found, key=lambda one: (-one.spend, one.by[0] or ""))
    shown = dearest[(query.page - 1) * query.page_size : query.page * query.page_size]
    told = {"page": query.page, "page_size": query.page_size, "total": len(found), "total_pages": pages}
    return shown, {**told, "has_more": query.page < pages}


def _keys(kind: str) -> Callable[..., Awaitable[Any]]:
    async def keys(parts: Parts, seen: Seen, query: Annotated[ActivityQuery, Query()]) -> Any:
        """One row per key that spent something of this kind."""
        both = await sums(parts, ("key_digest", KINDS[kind][0]), filter_of(kind, query, seen))
        shown, told = _page(_by_key(both, anybody=kind == "user"), query)
        known = await keys_named(parts, [one.by[0] for one in shown])
        rows = [
            {"api_key": one.by[0], **known.get(one.by[0] or "", UNKNOWN_KEY), "metrics": metrics(one)} for one in shown
        ]
        return {"results": rows, "metadata": told}

    return keys


def _search(kind: str) -> Callable[..., Awaitable[Any]]:
    async def search(parts: Parts, seen: Seen, query: Annotated[SearchQuery, Query()]) -> Any:
        """One row per name that has the text in it, whatever the case."""
        column, wanted = KINDS[kind][0], query.search.casefold()
        found = await sums(parts, (column,), filter_of(kind, query, seen))
        matching = [one for one in found if one.by[0] is not None and wanted in one.by[0].casefold()]
        shown, told = _page(matching, query)
        return {"results": [{column: one.by[0], "metrics": metrics(one)} for one in shown], "metadata": told}

    return search


def _by_key(found: tuple[SpendSum, ...], *, anybody: bool) -> list[SpendSum]:
    """Added up for each key; what has no name of this kind is left out, but for users, as in the daily activity."""
    keys: dict[str | None, SpendSum] = {}
    for one in found:
        if anybody or one.by[1] is not None:
            held = keys.get(one.by[0])
            keys[one.by[0]] = one if held is None else plus(held, one)
    return [*keys.values()]


for _kind in KINDS:
    for _path, _made in {"keys": _keys, "search": _search}.items():
        reading.add_api_route(
            f"/{_kind}/daily/activity/{_path}",
            _made(_kind),
            methods=["GET"],
            response_model=None,
            name=f"{_kind}_daily_activity_{_path}",
            summary=f"Spend by {'key' if _path == 'keys' else _kind}, the dearest first",
        )
