"""What is counted, under which names, and with which labels: only such as the operator chose."""

from __future__ import annotations

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from telemetry.test_logs import OUTCOME, RECEIPT

from extproc.telemetry.metrics import Metrics

#: Dashboards and alerts are built on these.
OURS = {
    "extproc_requests_total": {"operation", "status"},
    "extproc_refusals_total": {"reason"},
    "extproc_tokens_total": {"model", "provider", "direction"},
    "extproc_spend_usd_total": {"model", "provider"},
    "extproc_unpriced_total": {"model", "provider"},
    "extproc_estimated_total": {"model", "cut"},
    "extproc_limit_over_total": {"kind", "setting"},
    "extproc_outage_exchanges_total": set(),
    "extproc_added_seconds_count": set(),
    "extproc_exchange_seconds_count": set(),
    "extproc_store_up": {"store"},
}


def samples(metrics):
    """`{(name, labels): value}` of our own metrics."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("extproc_") and not sample.name.endswith("_created")
    }


def alerted(metrics):
    """What alerts that were written for LiteLLM ask for, by line."""
    lines = metrics.render().decode().splitlines()
    return {line for line in lines if line.startswith(("litellm_requests_total", "litellm_spend_total"))}


def value(metrics, name, **labels):
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


def changed(outcome=OUTCOME, **receipt):
    return msgspec.structs.replace(outcome, receipt=msgspec.structs.replace(RECEIPT, **receipt))


@pytest.fixture
def metrics():
    return Metrics()


def test_an_exchange_is_counted_with_its_tokens_and_spend(metrics):
    metrics.observe(OUTCOME, 2_000_000, "gpt")
    metrics.observe(OUTCOME, 2_000_000, "gpt")

    served = {"model": "gpt", "provider": "openai"}
    assert value(metrics, "extproc_requests_total", operation="chat", status="200") == 2
    assert value(metrics, "extproc_tokens_total", **served, direction="input") == 16
    assert value(metrics, "extproc_tokens_total", **served, direction="output") == 122
    assert value(metrics, "extproc_spend_usd_total", **served) == pytest.approx(2 * 37_800e-9)
    assert value(metrics, "extproc_added_seconds_sum") == pytest.approx(0.004)
    assert value(metrics, "extproc_exchange_seconds_sum") == pytest.approx(3.0)


def test_a_refusal_is_counted_by_its_reason(metrics):
    metrics.observe(
        msgspec.structs.replace(OUTCOME, status=401, reason="no_credential", key=None, receipt=None), 1_000, ""
    )

    assert value(metrics, "extproc_refusals_total", reason="no_credential") == 1


def test_an_unknown_price_is_counted_and_is_no_spend(metrics):
    metrics.observe(changed(spend=None), 1_000, "gpt")

    assert value(metrics, "extproc_unpriced_total", model="gpt", provider="openai") == 1
    assert value(metrics, "extproc_spend_usd_total", model="gpt", provider="openai") is None


@pytest.mark.parametrize("cut", [True, False])
def test_an_estimate_is_counted_and_whether_the_stream_was_cut(metrics, cut):
    metrics.observe(changed(estimated=True, cut=cut), 1_000, "gpt")

    assert value(metrics, "extproc_estimated_total", model="gpt", cut=str(cut).lower()) == 1


def test_whatever_clients_make_up_no_new_series_comes_of_it(metrics):
    """Names of models and paths, whoever asks: each would be a series for ever."""
    metrics.observe(OUTCOME, 1_000, "gpt")
    metrics.observe(msgspec.structs.replace(OUTCOME, status=404, reason="not_found", receipt=None), 1_000, "")
    before = samples(metrics).keys()
    for number in range(50):
        made_up = msgspec.structs.replace(
            changed(model=f"model-{number}", model_group=f"group-{number}", end_user=f"user-{number}"),
            event_id=str(number),
            call_id=str(number),
            model_group=f"group-{number}",
        )
        metrics.observe(made_up, 1_000, "gpt")
        metrics.observe(
            msgspec.structs.replace(made_up, path=f"/v1/{number}", status=404, reason="not_found", receipt=None),
            1_000,
            "",
        )

    assert samples(metrics).keys() == before


def test_names_and_labels_are_those_that_dashboards_use(metrics):
    metrics.observe(changed(estimated=True), 1_000, "gpt")
    metrics.observe(changed(spend=None), 1_000, "gpt")
    metrics.observe(msgspec.structs.replace(OUTCOME, reason="blocked", receipt=None), 1_000, "")
    metrics.observe(msgspec.structs.replace(OUTCOME, over=("team:max_budget",), outage=True), 1_000, "gpt")
    metrics.store_up("keys", up=True)
    found = samples(metrics)

    for name, labels in OURS.items():
        assert {frozenset(dict(pairs)) for each, pairs in found if each == name} == {frozenset(labels)}


def test_the_key_and_its_owner_are_nowhere(metrics):
    metrics.observe(OUTCOME, 1_000, "gpt")
    text = metrics.render().decode()

    for hidden in ("sk-", "laptop", "ada", "core", "d" * 64, "192.0.2.7"):
        assert f'"{hidden}' not in text


def test_limits_that_were_exceeded_without_refusal_are_counted_and_no_duration_is_a_label(metrics):
    """Whoever makes a key chooses its windows."""
    outcome = msgspec.structs.replace(OUTCOME, over=("api_key:budget_limits:2h", "team:max_budget"))
    metrics.observe(outcome, 1_000, "gpt")
    metrics.observe(outcome, 1_000, "gpt")

    assert value(metrics, "extproc_limit_over_total", kind="api_key", setting="budget_limits") == 2
    assert value(metrics, "extproc_limit_over_total", kind="team", setting="max_budget") == 2


def test_what_was_counted_alone_is_counted(metrics):
    metrics.observe(OUTCOME, 1_000, "gpt")
    assert value(metrics, "extproc_outage_exchanges_total") is None
    metrics.observe(msgspec.structs.replace(OUTCOME, outage=True), 1_000, "gpt")

    assert value(metrics, "extproc_outage_exchanges_total") == 1


def test_a_store_is_up_or_down(metrics):
    metrics.store_up("keys", up=True)
    metrics.store_up("keys", up=False)

    assert value(metrics, "extproc_store_up", store="keys") == 0


def test_a_gauge_is_read_at_each_scrape(metrics):
    depth = [3, 5]
    metrics.watch("extproc_outbox_depth", "Receipts not yet booked.", depth.pop)

    assert value(metrics, "extproc_outbox_depth") == 5
    assert value(metrics, "extproc_outbox_depth") == 3


def test_two_processes_worth_of_metrics_do_not_meet(metrics):
    Metrics().observe(OUTCOME, 1_000, "gpt")

    assert value(metrics, "extproc_requests_total", operation="chat", status="200") is None


def test_the_process_itself_is_measured(metrics):
    text = metrics.render().decode()

    assert "process_resident_memory_bytes" in text
    assert "python_gc_collections_total" in text


def test_alerts_written_for_litellm_find_errors_and_spend_from_zero_on(metrics):
    assert alerted(metrics) == {
        'litellm_requests_total{status="success"} 0.0',
        'litellm_requests_total{status="error"} 0.0',
        "litellm_spend_total 0.0",
    }

    metrics.observe(OUTCOME, 2_000_000, "gpt")
    for status in (429, 0):
        metrics.observe(msgspec.structs.replace(OUTCOME, status=status, receipt=None), 2_000_000, "gpt")

    assert alerted(metrics) == {
        'litellm_requests_total{status="success"} 1.0',
        'litellm_requests_total{status="error"} 2.0',
        "litellm_spend_total 3.78e-05",
    }
