"""Everyone that limits and budgets hang on is stored, found with a key, and booked."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from stores.samples import NOW, fresh, key, receipt

from extproc.errors import AlreadyExists
from extproc.model import Allowance, Budget, EndUser, Membership, Tag, Team, User
from extproc.stores.contract import KeyFilter

LIMITS: dict[str, Any] = msgspec.structs.asdict(
    Allowance(
        max_budget=10**18, soft_budget=0, budget_duration="30d", budget_reset_at=NOW, max_parallel_requests=0,
        rpm_limit=1, tpm_limit=2**53, tpd_limit=3, model_rpm_limit={"ü": 1}, model_tpm_limit={"m": 0},
        model_max_budget={"m": (5, "1d"), "n": (0, None)}, budget_limits=(("1h", 5), ("1d", 6)),
        temp_budget_increase=7, temp_budget_expiry=NOW + 1,
    )
)  # fmt: skip
TEAM = Team(
    id="t", alias="a", organization_id="o", models=("m",), blocked=True, spend=5, metadata={"a": [1]},
    fields={"tags": ["x"]}, created_at=NOW, updated_at=NOW, **LIMITS,
)  # fmt: skip
USER = User(
    id="u", email="u@example.com", alias="a", role="internal_user", models=("m",), spend=5, metadata={"a": 1},
    fields={"f": 1}, created_at=NOW, updated_at=NOW, **LIMITS,
)  # fmt: skip
MEMBER = Membership(user_id="u", team_id="t", role="admin", models=("m",), spend=5, created_at=NOW, **LIMITS)
BUDGET = Budget(id="b", created_at=NOW, created_by="admin", updated_at=NOW, updated_by="admin", **LIMITS)
END_USER = EndUser(
    id="e", alias="a", blocked=True, models=("m",), spend=5, budget_id="b", fields={"default_model": "m"},
    created_at=NOW, updated_at=NOW, **LIMITS,
)  # fmt: skip
TAG = Tag(
    name="x", description="d", models=("m",), spend=5, budget_id="b", created_at=NOW, created_by="admin",
    updated_at=NOW, **LIMITS,
)  # fmt: skip
BY = {"deleted_by": "admin", "now": NOW}


def rows(store, name):
    return getattr(store, name)


#: Each kind of row: where it is, a full one, and a plain one.
KINDS: dict[str, tuple[str, Any, Any]] = {
    "team": ("teams", TEAM, Team(id="t")),
    "user": ("users", USER, User(id="u")),
    "end user": ("end_users", END_USER, EndUser(id="e")),
    "tag": ("tags", TAG, Tag(name="x")),
    "budget": ("budgets", BUDGET, Budget(id="b")),
}


@pytest.mark.parametrize("kind", KINDS)
class TestRows:
    async def test_a_row_comes_back_as_it_was_stored(self, store, kind):
        where, full, plain = KINDS[kind]
        for row in (full, plain):
            name = row.name if kind == "tag" else row.id
            assert await rows(store, where).find(name) is None
            assert await rows(store, where).create(row) == row
            assert await rows(store, where).find(name) == row
            assert await rows(store, where).delete([name], **BY) == (name,)

    async def test_a_taken_id_is_refused_under_the_name_that_requests_have_for_it(self, store, kind):
        where, _, plain = KINDS[kind]
        await rows(store, where).create(plain)

        with pytest.raises(AlreadyExists) as refused:
            await rows(store, where).create(plain)
        assert refused.value.field == {
            "team": "team_id", "user": "user_id", "end user": "end_user_id", "tag": "name", "budget": "budget_id"
        }[kind]  # fmt: skip

    async def test_an_update_sets_what_it_names_and_nothing_else(self, store, kind):
        where, full, _ = KINDS[kind]
        name = full.name if kind == "tag" else full.id
        await rows(store, where).create(full)

        changes = {"max_budget": None, "budget_limits": (), "rpm_limit": 9, "model_max_budget": {"z": (1, None)}}
        changed = await rows(store, where).update(name, changes)

        assert changed == msgspec.structs.replace(full, **changes)
        assert await rows(store, where).find(name) == changed
        assert await rows(store, where).update(name, {}) == changed
        assert await rows(store, where).update("unknown", changes) is None

    async def test_what_identifies_a_row_cannot_be_changed(self, store, kind):
        where, _, _ = KINDS[kind]
        with pytest.raises(ValueError, match="cannot be changed"):
            await rows(store, where).update("x", {"name" if kind == "tag" else "id": "y"})

    async def test_all_are_deleted_or_none(self, store, kind):
        where, full, _ = KINDS[kind]
        name = full.name if kind == "tag" else full.id
        await rows(store, where).create(full)

        assert await rows(store, where).delete([name, "unknown"], **BY) == ()
        assert await rows(store, where).find(name) == full
        assert await rows(store, where).delete([], **BY) == ()
        assert await rows(store, where).delete([name, name], **BY) == (name,)

    async def test_rows_are_listed_in_pages_and_chosen_by_their_fields(self, store, kind):
        where, _, plain = KINDS[kind]
        identity = "name" if kind == "tag" else "id"
        made = [msgspec.structs.replace(plain, **{identity: f"r{n}", "created_at": NOW + n}) for n in range(3)]
        for row in made:
            await rows(store, where).create(row)

        page = await rows(store, where).list({}, page=1, size=2)
        assert (page.rows, page.total) == ((made[2], made[1]), 3)
        assert (await rows(store, where).list({}, page=2, size=2)).rows == (made[0],)
        assert (await rows(store, where).list({identity: ("r0", "r2")}, descending=False)).rows == (made[0], made[2])
        assert (await rows(store, where).list({identity: ()})).total == 0
        assert (await rows(store, where).list({"created_at": NOW + 1})).rows == (made[1],)


class TestUniqueAddresses:
    async def test_an_address_belongs_to_one_user(self, store):
        await store.users.create(User(id="a", email="x@example.com"))
        await store.users.create(User(id="b"))
        await store.users.create(User(id="c"))

        with pytest.raises(AlreadyExists) as refused:
            await store.users.create(User(id="d", email="x@example.com"))
        assert (refused.value.field, refused.value.value) == ("user_email", "x@example.com")
        with pytest.raises(AlreadyExists) as refused:
            await store.users.update("b", {"email": "x@example.com"})
        assert refused.value.field == "user_email"

    async def test_an_id_with_the_word_email_in_it_is_told_as_an_id(self, store):
        await store.users.create(User(id="email"))

        with pytest.raises(AlreadyExists) as refused:
            await store.users.create(User(id="email", email="y@example.com"))
        assert refused.value.field == "user_id"


class TestMembers:
    async def test_members_are_added_all_or_none(self, store):
        await store.members.add([MEMBER])

        with pytest.raises(AlreadyExists) as refused:
            await store.members.add([Membership(user_id="a", team_id="t"), MEMBER])
        assert (refused.value.field, refused.value.value) == ("member", "u")
        assert await store.members.of_teams(["t"]) == (MEMBER,)

    async def test_members_are_listed_by_teams_and_by_users(self, store):
        members = [
            Membership(user_id=user, team_id=team, created_at=NOW + n)
            for n, (user, team) in enumerate([("a", "t"), ("b", "t"), ("a", "s")])
        ]
        await store.members.add(members)

        assert await store.members.of_teams(["t"]) == (members[0], members[1])
        assert await store.members.of_teams(["s", "t"]) == tuple(members)
        assert await store.members.of_users(["a"]) == (members[0], members[2])
        assert await store.members.of_users([]) == ()

    async def test_a_members_limits_change_field_by_field(self, store):
        await store.members.add([MEMBER])

        changed = await store.members.update("u", "t", {"max_budget": None, "role": "user"})

        assert changed == msgspec.structs.replace(MEMBER, max_budget=None, role="user")
        assert await store.members.update("u", "t", {}) == changed
        assert await store.members.update("u", "other", {"rpm_limit": 1}) is None

    async def test_a_removed_member_loses_the_keys_of_this_team_only(self, store):
        await store.members.add([MEMBER])
        theirs, elsewhere, of_others = [
            await store.create(key(user_id=user, team_id=team)) for user, team in [("u", "t"), ("u", "s"), ("v", "t")]
        ]

        assert await store.members.remove("u", "t", **BY) is True
        assert await store.members.remove("u", "t", **BY) is False
        assert await store.find(theirs.digest) is None
        assert await store.find(elsewhere.digest) is not None
        assert await store.find(of_others.digest) is not None

    async def test_keys_stay_where_there_was_no_such_member(self, store):
        stored = await store.create(key(user_id="u", team_id="t"))

        assert await store.members.remove("u", "t", **BY) is False
        assert await store.find(stored.digest) is not None


class TestFind:
    async def test_a_key_is_found_with_everyone_it_belongs_to(self, store):
        await store.teams.create(TEAM)
        await store.users.create(USER)
        await store.members.add([MEMBER])
        await store.budgets.create(BUDGET)
        stored = await store.create(key(team_id="t", user_id="u", budget_id="b", alias="front", **LIMITS))

        found = await store.find(stored.digest)

        assert found == msgspec.structs.replace(stored, team=TEAM, user=USER, membership=MEMBER, budget=BUDGET)
        assert await store.find_by_alias("front") == found

    async def test_what_a_key_names_and_does_not_exist_is_none(self, store):
        stored = await store.create(key(team_id="t", user_id="u", budget_id="b"))
        await store.members.add([Membership(user_id="u", team_id="other"), Membership(user_id="other", team_id="t")])

        found = await store.find(stored.digest)

        assert (found.team, found.user, found.membership, found.budget) == (None, None, None, None)

    async def test_an_end_user_is_found_with_the_budget_it_names(self, store):
        await store.end_users.create(END_USER)
        assert await store.find_end_user("e") == END_USER

        await store.budgets.create(BUDGET)

        assert await store.find_end_user("e") == msgspec.structs.replace(END_USER, budget=BUDGET)
        assert await store.find_end_user("unknown") is None

    async def test_tags_are_found_in_the_order_of_their_names_each_once(self, store):
        await store.budgets.create(BUDGET)
        for tag in (TAG, Tag(name="y")):
            await store.tags.create(tag)

        found = await store.find_tags(["y", "none", "x", "y"])

        assert found == (Tag(name="y"), msgspec.structs.replace(TAG, budget=BUDGET))
        assert await store.find_tags([]) == ()


class TestDeletion:
    @pytest.mark.parametrize(("where", "owner"), [("teams", "team_id"), ("users", "user_id")])
    async def test_keys_and_memberships_go_with_their_owner(self, store, where, owner):
        await rows(store, where).create(Team(id="t") if where == "teams" else User(id="t"))
        await store.members.add([msgspec.structs.replace(Membership(user_id="o", team_id="o"), **{owner: "t"})])
        theirs, other = await store.create(key(**{owner: "t"})), await store.create(key(**{owner: "s"}))

        assert await rows(store, where).delete(["t", "unknown"], **BY) == ()
        assert await store.find(theirs.digest) is not None
        assert await rows(store, where).delete(["t"], **BY) == ("t",)

        assert await store.find(theirs.digest) is None
        assert await store.find(other.digest) is not None
        assert await store.members.of_teams(["t", "o"]) == ()
        assert (await store.was_deleted(theirs.alias), await store.was_deleted("nobody's")) == (True, False)
        # What is kept aside frees the names: the key can be made again.
        assert await store.create(theirs) == theirs

    async def test_keys_are_counted_and_listed_by_owner(self, store):
        for user, team in [("u", "t"), ("u", "s"), ("v", "t")]:
            await store.create(key(user_id=user, team_id=team, budget_id="b" if user == "v" else None))

        assert await store.count_by_user(["u", "v", "w"]) == {"u": 2, "v": 1}
        assert await store.count_by_user([]) == {}
        options: Any = {"page": 1, "size": 10, "sort_by": "created_at", "descending": True}
        assert (await store.list(KeyFilter(team_ids=("t", "s")), **options)).total == 3
        assert (await store.list(KeyFilter(team_ids=("t",), user_id="u"), **options)).total == 1
        assert (await store.list(KeyFilter(team_ids=()), **options)).total == 0
        assert (await store.list(KeyFilter(budget_id="b"), **options)).total == 1


class TestBooking:
    async def everyone(self, store) -> None:
        await store.teams.create(Team(id="t"))
        await store.users.create(User(id="u"))
        await store.members.add([Membership(user_id="u", team_id="t")])
        await store.end_users.create(EndUser(id="e"))
        for name in ("x", "y"):
            await store.tags.create(Tag(name=name))

    async def spends(self, store) -> dict[str, int]:
        [member] = await store.members.of_teams(["t"])
        found = {
            "team": await store.teams.find("t"), "user": await store.users.find("u"), "member": member,
            "end user": await store.end_users.find("e"), "x": await store.tags.find("x"),
            "y": await store.tags.find("y"),
        }  # fmt: skip
        return {name: row.spend for name, row in found.items()}

    async def test_spend_is_added_to_all_that_a_receipt_names(self, store):
        await self.everyone(store)
        full = receipt(user_id="u", team_id="t", end_user="e", tags=("x", "unknown", "x"), spend=5)
        alone = receipt(user_id="u", tags=("y",), spend=7)
        team_only = receipt(team_id="t", spend=11)

        assert len(await store.record([full, alone, team_only, receipt(end_user="e", spend=None)], now=NOW)) == 4
        assert len(await store.record([full], now=NOW)) == 0

        assert await self.spends(store) == {
            "team": 16, "user": 12, "member": 5, "end user": 5, "x": 5, "y": 7
        }  # fmt: skip

    async def test_spend_that_is_set_is_where_later_bookings_start(self, store):
        await self.everyone(store)
        await store.record([receipt(team_id="t", spend=5)], now=NOW)

        await store.teams.update("t", {"spend": 100})
        await store.record([receipt(team_id="t", spend=1)], now=NOW)

        assert (await store.teams.find("t")).spend == 101

    async def test_names_that_no_index_holds_do_not_stop_a_booking(self, store):
        long = fresh("") * 2_000
        nonsense = receipt(
            call_id=long, provider_response_id=long, user_id=long, team_id=long, end_user="\U0001f600" * 5_000,
            model_group=long, tags=(long, "a\u0000b", "\ud800"), key_digest=long,
        )  # fmt: skip

        assert await store.record([nonsense], now=NOW) == {nonsense.event_id}

    async def test_bookings_in_any_order_at_once_wait_for_each_other_and_lose_nothing(self, store):
        teams, users = [f"t{n}" for n in range(4)], [f"u{n}" for n in range(4)]
        for team in teams:
            await store.teams.create(Team(id=team))
        for user in users:
            await store.users.create(User(id=user))
        keys = [await store.create(key()) for _ in range(4)]
        batches = [
            [
                receipt(key_digest=keys[(n + i) % 4].digest, team_id=teams[(n * 3 + i) % 4], user_id=users[(i - n) % 4])
                for i in range(8)
            ]
            for n in range(12)
        ]
        repeated = [batch[::-1] for batch in batches]
        changes = [store.teams.update(team, {"rpm_limit": n}) for n, team in enumerate(teams * 3)]

        bookings = [store.record(batch, now=NOW) for batch in batches + repeated]

        results = await asyncio.gather(*bookings, *changes)

        assert sum(len(new) for new in results[: len(bookings)]) == 96
        assert sum([(await store.teams.find(team)).spend for team in teams]) == 96 * 7
        assert sum([(await store.users.find(user)).spend for user in users]) == 96 * 7
        assert sum([(await store.find(row.digest)).spend for row in keys]) == 96 * 7
