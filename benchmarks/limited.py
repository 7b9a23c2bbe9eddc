"""Everybody has every limit: what the limited arms configure, whom they create, and what their requests say.

Requests, tokens, places in parallel and a budget, of the key, its team, its user, the user in the team, the end user,
the tag, the model and of all together: 32 limits for each request, none of which is ever reached, because a refused
request costs nothing that is worth measuring.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from benchmarks import payloads

REQUESTS, TOKENS, PLACES, DOLLARS = 1_000_000_000, 1_000_000_000_000, 1_000_000, 1_000_000
END_USER, TAG = "a customer", "a tag"
#: What a request says beside the payload.
SAID = {"user": END_USER, "metadata": {"tags": [TAG]}}

_BUDGET = {"max_budget": DOLLARS, "budget_duration": "30d"}
_LIMITS = {"rpm_limit": REQUESTS, "tpm_limit": TOKENS, "max_parallel_requests": PLACES, **_BUDGET}
_USER, _TEAM = "a user", "a team"
#: One rate of each subject must be in every answer.
_TOLD = ("team_member", "api_key", "team", "user", "tag", "end_user", "model", "global")

#: Asks the management API: a path and a body to the answer.
Asks = Callable[[str, dict[str, Any]], dict[str, Any]]


def configuration(plain: dict[str, Any], redis_url: str | None) -> dict[str, Any]:
    """The same with limits for the model, for each deployment and for all; counted in Redis where there is one."""
    found = copy.deepcopy(plain)
    for model in found["model_list"]:
        model["litellm_params"] |= {"rpm": REQUESTS, "tpm": TOKENS}
    found["general_settings"] |= {
        "max_parallel_requests": PLACES,
        "global_max_parallel_requests": PLACES,
        "apply_user_budget_to_team_keys": True,
    }
    found["litellm_settings"] = _BUDGET
    found["router_settings"] = {"rpm_limit": REQUESTS, "tpm_limit": TOKENS}
    if redis_url is not None:
        found["router_settings"]["redis_url"] = redis_url
        # A machine that is busy with other work, or a Redis that is watched, must not refuse what is measured.
        found["extproc_settings"] = {"counter_deadline_ms": 2_000}
    return found


def new_key(asks: Asks) -> str:
    """A key of a user in a team, all limited, and the end user and the tag that its requests name."""
    asks("/user/new", {"user_id": _USER, "auto_create_key": False, **_LIMITS})
    asks("/team/new", {"team_id": _TEAM, **_LIMITS})
    member = {name: value for name, value in _LIMITS.items() if name != "max_budget"}
    wanted = {"team_id": _TEAM, "member": {"role": "user", "user_id": _USER}, "max_budget_in_team": DOLLARS}
    asks("/team/member_add", {**wanted, **member})
    asks("/customer/new", {"user_id": END_USER, **_LIMITS})
    asks("/tag/new", {"name": TAG, **_LIMITS})
    own = {"model_max_budget": {payloads.MODEL: {"budget_limit": DOLLARS, "time_period": "30d"}}}
    key = {"models": [payloads.MODEL], "key_alias": "benchmark", "user_id": _USER, "team_id": _TEAM}
    return str(asks("/key/generate", {**key, **_LIMITS, **own})["key"])


def missing(headers: set[str]) -> list[str]:
    """Subjects without a limit in an answer's headers: nothing would be measured."""
    return [kind for kind in _TOLD if f"x-ratelimit-{kind}-limit-requests" not in headers]
