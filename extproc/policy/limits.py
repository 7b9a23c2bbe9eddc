"""Which limits an exchange meets: rates, places in parallel and budgets, of everyone it is counted for.

Strategy. Whoever the exchange is counted for is a *subject* with an allowance; one table says which field of an
allowance is which limit. Budgets come before rates, subjects in LiteLLM's order, so that a client is told of the first
limit that stands in its way. What counts for several (a member, their key, their team) is reserved for all or none.

0 is a limit, `None` is none. A budget's window follows from its duration and the moment (`windows.window`). A soft
budget, and a limit that is only tried out (`dry_run`), is counted and reported and refuses nobody.

LiteLLM's rules that are kept: a user's own budget refuses nobody with a team's key, unless the operator says so, though
what such a key spends is spent of it; the master key meets the limits of everybody together only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, tzinfo
from typing import TypeAlias

import msgspec

from extproc.holds import ROLLING_MS, Amounts, Full, Limit, Measure, Scope, Span
from extproc.model import (
    MASTER_KEY_DIGEST,
    Allowance,
    Deployment,
    EndUser,
    Explanation,
    Key,
    Nanos,
    Receipt,
    Tag,
    UnixMs,
)
from extproc.policy import refusals, windows
from extproc.policy.refusals import Refusal

#: What people call the scopes of an exchange, for messages: a digest is never shown.
Names: TypeAlias = Mapping[Scope, str]

#: Setting, what it counts, and how it forgets.
_RATES = (
    ("max_parallel_requests", Measure.PARALLEL, Span.GAUGE),
    ("rpm_limit", Measure.REQUESTS, Span.ROLLING),
    ("tpm_limit", Measure.TOKENS, Span.ROLLING),
)
_MODEL_RATES = (
    ("model_rpm_limit", Measure.REQUESTS),
    ("model_tpm_limit", Measure.TOKENS),
)
#: Scopes that have counters of their own for each model.
_PER_MODEL = {"api_key": "model_per_key", "team": "model_per_team"}
_A_DAY = windows.Duration(1, "d")
GLOBAL = Scope("global", "")
#: What no counter ever reaches.
BOUNDLESS = 2**53 - 1
#: In `dry_run`: every limit.
EVERY = "*"


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for everybody.

    `everybody` is the allowance of all exchanges together, `per_deployment` that of each deployment (its places in
    parallel), `deployments` the rates of model names. `dry_run` names settings that are only tried out.
    """

    everybody: Allowance = Allowance()
    deployments: Mapping[str, Allowance] = {}
    per_deployment: Allowance = Allowance()
    zone: tzinfo = UTC
    apply_user_budget_to_team_keys: bool = False
    dry_run: frozenset[str] = frozenset()


class Subject(msgspec.Struct, frozen=True):
    """One whom an exchange is counted for; `who` is the name that people know. Without `bound` budgets only count."""

    scope: Scope
    who: str
    allowance: Allowance
    dry_run: frozenset[str] = frozenset()
    bound: bool = True


def subjects(
    house: House, key: Key, deployment: Deployment, end_user: EndUser | None, tags: Sequence[Tag]
) -> tuple[Subject, ...]:
    """Everyone an exchange is counted for, in the order in which their limits are checked."""
    return (
        *(() if key.digest == MASTER_KEY_DIGEST else _of_key(house, key)),
        *(Subject(Scope("tag", tag.name), tag.name, tag.with_defaults(tag.budget)) for tag in tags),
        *_of_end_user(end_user),
        *_of_deployment(house, deployment),
        Subject(GLOBAL, "all requests", house.everybody),
    )


def of(house: House, who: Sequence[Subject], model: str, now: UnixMs) -> tuple[Limit, ...]:
    """Every limit that an exchange of these subjects with this model (the client's name) meets, in order."""
    found = [
        limit if subject.bound else _only_counted(limit)
        for subject in who
        for limit in _budgets(house, subject, model, now)
    ]
    found += [limit for subject in who for limit in _rates(house, subject, model, now)]
    return tuple(found)


def names(who: Sequence[Subject], model: str) -> Names:
    """How to speak of the scopes of these subjects."""
    known = {subject.scope: subject.who for subject in who}
    for subject in who:
        if kind := _PER_MODEL.get(subject.scope.kind):
            known[Scope(kind, f"{subject.scope.id}:{model}")] = f"{subject.who}:{model}"
    return known


def scopes(receipt: Receipt) -> tuple[Scope, ...]:
    """Every scope that a receipt counts for, whether limited or not."""
    key, team, user, model = receipt.key_digest, receipt.team_id, receipt.user_id, receipt.model_group
    found = [Scope("api_key", key), Scope("model_per_key", f"{key}:{model}"), Scope("model", model), GLOBAL]
    if team is not None:
        found += [Scope("team", team), Scope("model_per_team", f"{team}:{model}")]
    if user is not None:
        found.append(Scope("user", user))
    if team is not None and user is not None:
        found.append(Scope("team_member", f"{user}:{team}"))
    if receipt.end_user is not None:
        found.append(Scope("end_user", receipt.end_user))
    return (*found, *(Scope("tag", tag) for tag in receipt.tags))


def asked_of(limit: Limit, amounts: Amounts) -> int:
    """Which of an exchange's amounts a limit counts."""
    match limit.measure:
        case Measure.TOKENS:
            return amounts.tokens
        case Measure.SPEND:
            return amounts.nanos
    return 1


def refusal(limit: Limit, full: Full, known: Names, now: UnixMs, budget_exceeded_status: int) -> Refusal:
    """What a client is told of a limit without room."""
    why = Explanation(
        kind=limit.scope.kind,
        who=known.get(limit.scope, limit.scope.kind),
        measure=str(limit.measure),
        setting=limit.setting,
        maximum=limit.maximum,
        settled=full.level.settled,
        held=full.level.held,
        asked=full.asked,
        frees_at=_frees_at(limit, full, now),
    )
    if limit.measure is not Measure.SPEND:
        return refusals.rate_limited(why, now)
    if full.only_held(limit.maximum):
        return refusals.budget_held(why)
    return refusals.budget_exceeded(why, budget_exceeded_status)


def _frees_at(limit: Limit, full: Full, now: UnixMs) -> UnixMs | None:
    """When it fits. Requests are never given back: those that are held count for a minute like any others, only that
    the ledger does not know of them yet."""
    if full.frees_at is None and limit.measure is Measure.REQUESTS and full.only_held(limit.maximum):
        return now + ROLLING_MS
    return full.frees_at


def _of_key(house: House, key: Key) -> Iterator[Subject]:
    dry_run = _dry_run(key.metadata)
    if key.membership is not None:
        member = Scope("team_member", f"{key.membership.user_id}:{key.membership.team_id}")
        yield Subject(member, member.id, key.membership, dry_run)
    who = f"{key.alias} ({key.name})" if key.alias else key.name
    yield Subject(Scope("api_key", key.digest), who, key.with_defaults(key.budget), dry_run)
    if key.team is not None:
        yield Subject(Scope("team", key.team.id), key.team.id, key.team, _dry_run(key.team.metadata))
    if key.user is not None:
        bound = key.team_id is None or house.apply_user_budget_to_team_keys
        yield Subject(Scope("user", key.user.id), key.user.id, key.user, _dry_run(key.user.metadata), bound)


def _of_end_user(end_user: EndUser | None) -> Iterator[Subject]:
    if end_user is not None:
        yield Subject(Scope("end_user", end_user.id), end_user.id, end_user.with_defaults(end_user.budget))


def _of_deployment(house: House, deployment: Deployment) -> Iterator[Subject]:
    if (rates := house.deployments.get(deployment.model_name)) is not None:
        yield Subject(Scope("model", deployment.model_name), deployment.model_name, rates)
    if house.per_deployment.max_parallel_requests is not None:
        yield Subject(Scope("deployment", deployment.id), deployment.model_name, house.per_deployment)


def _dry_run(metadata: Mapping[str, object]) -> frozenset[str]:
    """`metadata.dry_run` is `true`, or a list of settings."""
    told = metadata.get("dry_run")
    if isinstance(told, list):
        return frozenset(str(name) for name in told)
    return frozenset({EVERY}) if told is True else frozenset()


def _budgets(house: House, subject: Subject, model: str, now: UnixMs) -> Iterator[Limit]:
    allowance = subject.allowance
    window = _window(house, allowance.budget_duration, allowance.budget_reset_at, now)
    if (maximum := _max_budget(allowance, now)) is not None:
        yield _budget(house, subject, "max_budget", maximum, window)
    if allowance.soft_budget is not None:
        soft = _budget(house, subject, "soft_budget", allowance.soft_budget, window)
        yield msgspec.structs.replace(soft, enforced=False)
    if model in allowance.model_max_budget and (own := _per_model(subject, model)):
        most, duration = allowance.model_max_budget[model]
        yield _budget(house, own, "model_max_budget", most, _window(house, duration, None, now))
    for duration, most in allowance.budget_limits:
        yield _budget(house, subject, f"budget_limits:{duration}", most, _window(house, duration, None, now))


def _only_counted(limit: Limit) -> Limit:
    """The user's other keys are checked against this counter, so it must know of the exchange as the ledger will: else
    it would be read anew after each."""
    return msgspec.structs.replace(limit, maximum=BOUNDLESS, enforced=False)


def _rates(house: House, subject: Subject, model: str, now: UnixMs) -> Iterator[Limit]:
    allowance = subject.allowance
    for setting, measure, span in _RATES:
        if (maximum := getattr(allowance, setting)) is not None:
            yield _rate(house, subject, setting, measure, span, maximum)
    if (maximum := allowance.tpd_limit) is not None:
        since, until = windows.window(_A_DAY, now, None, house.zone)
        day = _rate(house, subject, "tpd_limit", Measure.TOKENS, Span.WINDOW, maximum)
        yield msgspec.structs.replace(day, since=since, until=until)
    if (allowance.model_rpm_limit or allowance.model_tpm_limit) and (own := _per_model(subject, model)):
        for setting, measure in _MODEL_RATES:
            if (maximum := getattr(allowance, setting).get(model)) is not None:
                yield _rate(house, own, setting, measure, Span.ROLLING, maximum)


def _rate(house: House, subject: Subject, setting: str, measure: Measure, span: Span, maximum: int) -> Limit:
    enforced = _enforced(house, subject, setting)
    return Limit(subject.scope, measure, span, maximum, enforced=enforced, setting=setting)


def _per_model(subject: Subject, model: str) -> Subject | None:
    """The same subject with this model only, where that is a scope."""
    kind = _PER_MODEL.get(subject.scope.kind)
    return msgspec.structs.replace(subject, scope=Scope(kind, f"{subject.scope.id}:{model}")) if kind else None


def _budget(house: House, subject: Subject, setting: str, most: Nanos, window: tuple[UnixMs, UnixMs | None]) -> Limit:
    enforced = _enforced(house, subject, setting)
    return Limit(subject.scope, Measure.SPEND, Span.WINDOW, most, *window, enforced, setting)


def _enforced(house: House, subject: Subject, setting: str) -> bool:
    tried_out = {setting, setting.partition(":")[0], EVERY}
    return tried_out.isdisjoint(house.dry_run) and tried_out.isdisjoint(subject.dry_run)


def _max_budget(allowance: Allowance, now: UnixMs) -> Nanos | None:
    if allowance.max_budget is None or not allowance.temp_budget_increase:
        return allowance.max_budget
    running = allowance.temp_budget_expiry is not None and now < allowance.temp_budget_expiry
    return allowance.max_budget + (allowance.temp_budget_increase if running else 0)


def _window(house: House, duration: str | None, reset: UnixMs | None, now: UnixMs) -> tuple[UnixMs, UnixMs | None]:
    """Without a duration a budget is for ever."""
    return windows.window(windows.parse(duration), now, reset, house.zone) if duration else (0, None)
