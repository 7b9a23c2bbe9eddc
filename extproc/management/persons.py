"""What the law gives a person, a user or a customer: all that is kept of them, and its erasure.

An export is streamed, some rows at a time. An erasure may take longer than a client waits: it goes on in the
background, and whoever asks again gets its answer. If the process ends in the middle, asking again goes on where it
was: the account, blocked from the beginning on, is removed last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from extproc.holds import Scope
from extproc.management import audit, rows, spend_content, team_rows
from extproc.management.authentication import AdminRoute, AnyKeyRoute, Caller, is_admin
from extproc.management.customers import customer_row
from extproc.management.documentation import ERRORS
from extproc.management.errors import NOT_YOURS, Refused, not_found
from extproc.management.fields import Text
from extproc.management.moments import iso
from extproc.management.parts import ManagementParts, Parts
from extproc.management.spend_rows import spend_row
from extproc.management.team_schemas import DeleteUsers
from extproc.management.telling import told_of_all
from extproc.model import EndUser, Key, User
from extproc.policy.refusals import Refusal
from extproc.stores import audit_values
from extproc.stores.contract import Erasure, KeyFilter, LedgerRow
from extproc.stores.deletion_receipts import Subject, signed
from extproc.stores.spending import SumFilter

administration = APIRouter(route_class=AdminRoute, tags=["users"], responses=ERRORS)
customers = APIRouter(route_class=AdminRoute, tags=["customers"], responses=ERRORS)
reading = APIRouter(route_class=AnyKeyRoute, tags=["users"], responses=ERRORS)

_SECONDS = 20.0
_PAGE = 100
#: Of so many exchanges what was said is held at a time: half a MiB of each, sealed, opened and as text.
_MOST_OPENED = 10
_SUMS = ("day", "team_id", "model_group", "provider")
#: Erasures whose answer nobody asked for.
_MOST_KEPT = 100

Person = User | EndUser


class Erasures:
    """Those that go on in this process, by whether it is a user or a customer, and the name that was asked for."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._tasks: dict[tuple[str, str], asyncio.Task[tuple[Person, Erasure]]] = {}

    async def of_user(self, parts: ManagementParts, caller: Key, name: str) -> tuple[Person, Erasure]:
        """The erasure of this user, who is known by id or e-mail address. Raises `Refused`."""
        return await self._of(parts, caller, ("user", name), parts.entities.persons.find)

    async def of_customer(self, parts: ManagementParts, caller: Key, name: str) -> tuple[Person, Erasure]:
        """The erasure of this customer, whether they have an account or not. Raises `Refused`."""
        return await self._of(parts, caller, ("end_user", name), parts.entities.persons.find_customer)

    async def _of(
        self,
        parts: ManagementParts,
        caller: Key,
        asked: tuple[str, str],
        find: Callable[[str], Awaitable[Person | None]],
    ) -> tuple[Person, Erasure]:
        kind, name = asked
        task = self._tasks.get(asked)
        if task is None:
            person = await find(name)
            if person is None:
                raise not_found(kind, name)
            task = self._tasks[asked] = asyncio.create_task(_erase(parts, caller, person))
        await asyncio.wait({task}, timeout=self._seconds)
        if not task.done():
            self._forget_answers()
            raise Refused(still_erasing("user" if kind == "user" else "customer"))
        self._tasks.pop(asked, None)
        return task.result()

    def _forget_answers(self) -> None:
        for name in [name for name, task in self._tasks.items() if task.done()][:-_MOST_KEPT]:
            del self._tasks[name]


def still_erasing(whom: str) -> Refusal:
    """What whoever asks is told until it is done."""
    message = f"The {whom} is being deleted. Ask again for the answer."
    return Refusal(503, "service_unavailable_error", message, None, "still_erasing", ((b"retry-after", b"5"),))


class DeleteUser(BaseModel):
    """`DELETE /user/delete`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "user@example.com"}]})

    user_id: Annotated[Text, Field(min_length=1, description="An id, or an e-mail address.")]


class DeleteCustomer(BaseModel):
    """`DELETE /customer/delete`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "customer-1"}]})

    user_id: Annotated[Text, Field(min_length=1, description="As applications send it, in `user`.")]


class DeletionReceipt(BaseModel):
    """What was removed. `subject.hash` is an HMAC-SHA-256 of the id under `subject.salt`. `extproc verify-receipt`
    checks the signature, which is empty where nothing is written to the audit trail either."""

    kind: str
    subject: dict[str, str]
    replaced_by: Annotated[str, Field(description="What receipts and sums by day have in place of the user's name.")]
    removed: Annotated[dict[str, int], Field(description="By table, how many rows were changed or removed.")]
    deleted_at: str
    deleted_by: str
    key_id: str
    signature: str


@administration.post("/user/delete", response_model=int, summary="Delete users with their keys and personal data")
async def delete_users(request: Request, parts: Parts, caller: Caller, wanted: DeleteUsers) -> Any:
    """All of them or, if one is unknown, none; how many. Their keys are refused at once. Their receipts stay, under a
    name drawn for each. A 503 with `retry-after` says that it takes longer: ask again for each of them."""
    known = [await parts.entities.persons.find(name) for name in wanted.user_ids]
    ids = dict.fromkeys(user.id for user in known if user is not None)
    if None in known:
        raise not_found("user", ", ".join(wanted.user_ids[:10]))
    for user_id in ids:
        await _erasures(request).of_user(parts, caller, user_id)
    return len(ids)


@administration.delete("/user/delete", response_model=DeletionReceipt, summary="Delete a user, and get a receipt")
async def delete_user(
    request: Request, parts: Parts, caller: Caller, wanted: Annotated[DeleteUser, Body()]
) -> dict[str, Any]:
    """The account, the keys, the memberships and all personal data. A 503 with `retry-after` says that it takes longer:
    ask again for the receipt."""
    user, done = await _erasures(request).of_user(parts, caller, wanted.user_id)
    return _receipt(parts, caller, user, done)


@customers.delete("/customer/delete", response_model=DeletionReceipt, summary="Erase a customer, and get a receipt")
@customers.delete("/end_user/delete", response_model=DeletionReceipt, include_in_schema=False)
async def erase_customer(
    request: Request, parts: Parts, caller: Caller, wanted: Annotated[DeleteCustomer, Body()]
) -> dict[str, Any]:
    """The account, if there is one, and the name in all that was used for them: `POST /customer/delete` removes only
    the account. A 503 with `retry-after` says that it takes longer: ask again for the receipt."""
    customer, done = await _erasures(request).of_customer(parts, caller, wanted.user_id)
    return _receipt(parts, caller, customer, done)


@customers.get("/customer/{customer_id}/export", response_model=None, summary="All that is kept of a customer")
@customers.get("/end_user/{customer_id}/export", response_model=None, include_in_schema=False)
async def export_customer(parts: Parts, customer_id: str) -> StreamingResponse:
    """As one JSON object, streamed: the account (null where there is none), exchanges that were for them, sums by day,
    and the entries of the audit trail about the account."""
    customer = await parts.entities.persons.find_customer(customer_id)
    if customer is None:
        raise not_found("end_user", customer_id)
    return StreamingResponse(_exported_customer(parts, customer), media_type="application/json")


@reading.get("/user/{user_id}/export", response_model=None, summary="All that is kept of a user")
@reading.get("/user/{user_id}", response_model=None, summary="All that is kept of a user")
async def export(parts: Parts, caller: Caller, user_id: str) -> StreamingResponse:
    """As one JSON object, by id or e-mail address, streamed: the account, keys without secrets, memberships, exchanges,
    sums by day, and entries of the audit trail. For the administrator, and for the user's own keys."""
    if not is_admin(caller) and user_id not in _own_names(caller):
        raise Refused(NOT_YOURS)
    user = await parts.entities.persons.find(user_id)
    if user is None:
        raise not_found("user", user_id)
    return StreamingResponse(_exported(parts, user), media_type="application/json")


def _erasures(request: Request) -> Erasures:
    erasures: Erasures = request.app.state.erasures
    return erasures


def _own_names(caller: Key) -> set[str]:
    email = caller.user.email if caller.user is not None else None
    return {name for name in (caller.user_id, email) if name}


def _receipt(parts: ManagementParts, caller: Key, person: Person, done: Erasure) -> dict[str, Any]:
    by = caller.user_id or caller.name
    content = {
        "subject": msgspec.structs.asdict(Subject.of(person.id)),
        "replaced_by": done.tombstone,
        "removed": done.removed,
        "deleted_at": iso(parts.now()),
        "deleted_by": done.tombstone if isinstance(person, User) and by == person.id else by,
    }
    return signed(content, parts.trail.sign)


async def _erase(parts: ManagementParts, caller: Key, person: Person) -> tuple[Person, Erasure]:
    persons, by = parts.entities.persons, caller.user_id or caller.name
    if isinstance(person, EndUser):
        told = [Scope("end_user", person.id)]
    else:
        async with told_of_all(parts, [Scope("user", person.id)]):
            await persons.block(person.id)
        told = [Scope("user", person.id), *([Scope("end_user", person.email)] if person.email else [])]
    async with told_of_all(parts, told):
        return person, await persons.erase(person, deleted_by=by)


async def _exported(parts: ManagementParts, user: User) -> AsyncIterator[bytes]:
    members = await parts.entities.members.of_users([user.id])
    whole = {
        "user": team_rows.user_row(user, [member.team_id for member in members]),
        "memberships": [team_rows.membership_row(member) for member in members],
    }
    async for piece in _object(whole, {"keys": _keys(parts, user), **_told_of(parts, user, "user_id")}):
        yield piece


async def _exported_customer(parts: ManagementParts, customer: EndUser) -> AsyncIterator[bytes]:
    account = customer_row(customer) if customer.created_at else None
    async for piece in _object({"customer": account}, _told_of(parts, customer, "end_user")):
        yield piece


def _told_of(parts: ManagementParts, person: Person, column: str) -> dict[str, AsyncIterator[Iterable[Any]]]:
    """`column` is the one that names the person in sums by day."""
    return {
        "spend_logs": _receipts(parts, person),
        "daily_spend": _days(parts, column, person.id),
        "audit_logs": _entries(parts, person),
    }


async def _object(whole: dict[str, Any], lists: dict[str, AsyncIterator[Iterable[Any]]]) -> AsyncIterator[bytes]:
    """The text of one JSON object, in pieces."""
    yield msgspec.json.encode(whole)[:-1]
    for name, pieces in lists.items():
        yield f',"{name}":['.encode()
        separator = b""
        async for some in pieces:
            if encoded := b",".join(msgspec.json.encode(each) for each in some):
                yield separator + encoded
                separator = b","
        yield b"]"
    yield b"}"


async def _keys(parts: ManagementParts, user: User) -> AsyncIterator[Iterable[Any]]:
    number, wanted = 1, KeyFilter(user_id=user.id)
    while True:
        page = await parts.keys.list(wanted, page=number, size=_PAGE, sort_by="created_at", descending=False)
        yield [rows.row(key, parts.now()) for key in page.keys]
        if len(page.keys) < _PAGE:
            return
        number += 1


async def _receipts(parts: ManagementParts, person: Person) -> AsyncIterator[Iterable[Any]]:
    """With what was said in each, where that is stored; that it is read is noted once."""
    noted = False
    async for some in _in_few(parts.entities.persons.receipts(person)):
        said = await spend_content.opened(parts, [row.receipt.event_id for row in some])
        if said and not noted:
            await parts.trail.note_reading(
                spend_content.TABLE, audit_values.of_customer(person.id) if isinstance(person, EndUser) else person.id
            )
            noted = True
        yield [spend_row(row, said=said) for row in some]


async def _in_few(pages: AsyncIterator[tuple[LedgerRow, ...]]) -> AsyncIterator[tuple[LedgerRow, ...]]:
    """The same rows, so many at once that what was said in them may be held."""
    async for page in pages:
        for start in range(0, len(page), _MOST_OPENED):
            yield page[start : start + _MOST_OPENED]


async def _days(parts: ManagementParts, column: str, name: str) -> AsyncIterator[Iterable[Any]]:
    wanted, offset = SumFilter(among={column: (name,)}), 0
    while True:
        sums = await parts.ledger.sums(_SUMS, wanted, limit=_PAGE, offset=offset)
        yield [_sum(each.by, msgspec.structs.asdict(each)) for each in sums]
        if len(sums) < _PAGE:
            return
        offset += _PAGE


def _sum(by: Iterable[str | None], measures: dict[str, Any]) -> dict[str, Any]:
    """`spend_nanos` is billionths of a dollar."""
    measures.pop("by")
    return {**dict(zip(_SUMS, by, strict=True)), **measures, "spend_nanos": measures.pop("spend")}


async def _entries(parts: ManagementParts, person: Person) -> AsyncIterator[Iterable[Any]]:
    async for some in parts.entities.persons.entries(person):
        yield [audit.row(entry) for entry in some]
