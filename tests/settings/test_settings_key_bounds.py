"""What the configuration keeps keys below, and gives them unasked."""

from __future__ import annotations

import pytest

from extproc.errors import ConfigError
from extproc.policy.key_bounds import Bounds, Defaults


def test_without_them_nothing_is_bounded_and_nothing_is_given(load):
    found = load("litellm_settings:\n  upperbound_key_generate_params:\n")

    assert (found.key_bounds, found.key_defaults) == (Bounds(), Defaults())


def test_litellms_own_examples_are_read(load):
    found = load(
        """\
litellm_settings:
  upperbound_key_generate_params:
    max_budget: 100
    budget_duration: "10d"
    duration: "30d"
    max_parallel_requests: 1000
    tpm_limit: 1000
    rpm_limit: 1000
  default_key_generate_params:
    max_budget: 1.5000
    models: ["azure-gpt-3.5"]
    duration:
    metadata: {"setting": "default", "share": 0.5}
    team_id: "core-infra"
""",
        strict=True,
    )

    assert found.key_bounds == Bounds(
        max_budget=100 * 10**9, budget_duration="10d", duration="30d", max_parallel_requests=1000, tpm_limit=1000,
        rpm_limit=1000,
    )  # fmt: skip
    assert found.key_defaults == Defaults(
        max_budget=15 * 10**8, models=("azure-gpt-3.5",), metadata={"setting": "default", "share": 0.5},
        team_id="core-infra",
    )  # fmt: skip


def test_what_is_not_known_there_is_named(load):
    found = load("litellm_settings: {default_key_generate_params: {user_id: u}}")

    assert "litellm_settings.default_key_generate_params.user_id is not supported" in found.unsupported[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("upperbound_key_generate_params: {duration: soon}", "duration: a duration is a whole number"),
        ("default_key_generate_params: {budget_duration: 0d}", "budget_duration: a duration must be longer"),
        ("upperbound_key_generate_params: {max_budget: -1}", "max_budget"),
        (
            "{upperbound_key_generate_params: {rpm_limit: 1}, default_key_generate_params: {rpm_limit: 2}}",
            "rpm_limit is above the one of upperbound_key_generate_params",
        ),
    ],
)
def test_what_cannot_be_meant_is_a_mistake_with_its_place(load, text, said):
    with pytest.raises(ConfigError, match=rf"config.yaml:\d+:\d+: .*{said}"):
        load(f"litellm_settings: {text if text[0] == '{' else '{' + text + '}'}")
