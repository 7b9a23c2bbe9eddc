"""Every limit that somebody has, whatever is asked: for whoever looks at all counters, not at one exchange's.

An exchange meets the limits of its own model (`limits.of`); here a subject's limits for all models that it names are
together, each counter once for each setting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extproc.holds import Limit, Scope
from extproc.model import Budget, EndUser, Key, Membership, Tag, Team, UnixMs, User
from extproc.policy import limits
from extproc.policy.limits import GLOBAL, House, Subject


def of_key(key: Key, budget: Budget | None) -> Subject:
    """A key, with the budget that it names."""
    who = f"{key.alias} ({key.name})" if key.alias else key.name
    return Subject(Scope("api_key", key.digest), who, key.with_defaults(budget))


def of_team(team: Team) -> Subject:
    """A team, by the name that people know."""
    return Subject(Scope("team", team.id), team.alias or team.id, team)


def of_user(user: User) -> Subject:
    """A user; the counter is one for all of their keys."""
    return Subject(Scope("user", user.id), user.alias or user.id, user)


def of_member(member: Membership) -> Subject:
    """A user in a team."""
    who = f"{member.user_id}:{member.team_id}"
    return Subject(Scope("team_member", who), who, member)


def of_end_user(end_user: EndUser, budget: Budget | None) -> Subject:
    """An end user, with the budget that it names."""
    return Subject(Scope("end_user", end_user.id), end_user.id, end_user.with_defaults(budget))


def of_tag(tag: Tag, budget: Budget | None) -> Subject:
    """A tag, with the budget that it names."""
    return Subject(Scope("tag", tag.name), tag.name, tag.with_defaults(budget))


def of_house(house: House) -> Iterator[Subject]:
    """Those whom the configuration limits: model names, and everybody together."""
    for name, rates in house.deployments.items():
        yield Subject(Scope("model", name), name, rates)
    yield Subject(GLOBAL, "all requests", house.everybody)


def limits_of(house: House, subject: Subject, now: UnixMs) -> Sequence[Limit]:
    """All limits of a subject at this moment."""
    allowance = subject.allowance
    models = {"", *allowance.model_max_budget, *allowance.model_rpm_limit, *allowance.model_tpm_limit}
    met = (limit for model in sorted(models) for limit in limits.of(house, (subject,), model, now))
    return tuple({(limit.counter, limit.setting): limit for limit in met}.values())
