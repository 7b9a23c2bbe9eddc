"""Every limit that somebody has: of all models that they name, each counter once for each setting."""

from __future__ import annotations

from extproc.holds import Scope
from extproc.model import Allowance, Budget, EndUser, Key, Membership, Tag, Team, User
from extproc.policy import inventory
from extproc.policy.limits import House, Subject

NOW = 1_795_446_245_678
HOUSE = House(everybody=Allowance(rpm_limit=9), deployments={"gpt": Allowance(tpm_limit=7)})


def told(subject: Subject) -> set[tuple[str, str, str, int]]:
    found = inventory.limits_of(HOUSE, subject, NOW)
    return {(limit.scope.kind, limit.scope.id, limit.setting, limit.maximum) for limit in found}


def test_a_key_has_its_own_limits_its_budgets_and_those_of_every_model_that_it_names():
    key = Key(
        digest="d",
        name="sk-...last",
        rpm_limit=5,
        model_rpm_limit={"gpt": 2},
        model_tpm_limit={"gpt": 3, "other": 4},
        model_max_budget={"third": (6, "1d")},
        budget_id="b",
    )

    found = told(inventory.of_key(key, Budget(id="b", max_budget=8)))

    assert found == {
        ("api_key", "d", "rpm_limit", 5),
        ("api_key", "d", "max_budget", 8),
        ("model_per_key", "d:gpt", "model_rpm_limit", 2),
        ("model_per_key", "d:gpt", "model_tpm_limit", 3),
        ("model_per_key", "d:other", "model_tpm_limit", 4),
        ("model_per_key", "d:third", "model_max_budget", 6),
    }


def test_everyone_is_called_what_people_call_them_and_never_by_a_digest():
    whos = [
        inventory.of_key(Key(digest="d", name="sk-...last", alias="front"), None),
        inventory.of_key(Key(digest="d", name="sk-...last"), None),
        inventory.of_team(Team(id="t", alias="team")),
        inventory.of_user(User(id="u")),
        inventory.of_member(Membership(user_id="u", team_id="t")),
        inventory.of_end_user(EndUser(id="e"), None),
        inventory.of_tag(Tag(name="word"), None),
    ]

    assert [subject.who for subject in whos] == ["front (sk-...last)", "sk-...last", "team", "u", "u:t", "e", "word"]


def test_what_end_users_and_tags_do_not_limit_themselves_their_budgets_do():
    budget = Budget(id="b", max_budget=8)

    assert told(inventory.of_end_user(EndUser(id="e"), budget)) == {("end_user", "e", "max_budget", 8)}
    assert told(inventory.of_tag(Tag(name="w", max_budget=1), budget)) == {("tag", "w", "max_budget", 1)}


def test_a_user_and_a_member_are_limited_as_such():
    assert told(inventory.of_user(User(id="u", max_budget=1))) == {("user", "u", "max_budget", 1)}
    assert told(inventory.of_member(Membership(user_id="u", team_id="t", rpm_limit=2))) == {
        ("team_member", "u:t", "rpm_limit", 2)
    }


def test_the_configuration_limits_model_names_and_everybody():
    found = {limit for subject in inventory.of_house(HOUSE) for limit in told(subject)}

    assert found == {("model", "gpt", "tpm_limit", 7), ("global", "", "rpm_limit", 9)}


def test_limits_that_count_the_same_are_all_there():
    key = Key(digest="d", name="sk-...last", max_budget=5, soft_budget=4)

    found = inventory.limits_of(HOUSE, inventory.of_key(key, None), NOW)

    assert [limit.setting for limit in found] == ["max_budget", "soft_budget"]
    assert len({limit.counter for limit in found}) == 1
    assert {limit.scope for limit in found} == {Scope("api_key", "d")}
