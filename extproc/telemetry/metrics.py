"""Prometheus metrics with bounded labels.

Labels come from closed sets only: operation, status, reason, provider, and the configured model names. A name that a
client made up (a wildcard's match) is counted under the deployment's own `model_name`; keys, users and addresses are
never labels. Names of LiteLLM's metrics that dashboards use stand beside ours where they mean the same.

What is counted for each exchange is counted in plain dictionaries by the one thread that serves exchanges, and becomes
Prometheus's families at a scrape. The library's own counters take a lock for each number and cost four times as much.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from http import HTTPStatus
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from extproc.model import NANOS_PER_DOLLAR, Outcome, Receipt, UnixMs

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_LONG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class _Counted(Collector):
    """A counter: label values to the sum."""

    def __init__(self, name: str, documentation: str, *labels: str, divisor: int = 1) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._divisor = divisor
        self._sums: dict[tuple[str, ...], int] = {}

    def add(self, amount: int, *values: str) -> None:
        self._sums[values] = self._sums.get(values, 0) + amount

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, total in list(self._sums.items()):
            family.add_metric(values, total / self._divisor)
        yield family


class _Observed(Collector):
    """A histogram of seconds: how many were at most so long, and the sum of all."""

    def __init__(self, name: str, documentation: str, bounds: tuple[float, ...]) -> None:
        self._name, self._documentation, self._bounds = name, documentation, bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterator[Metric]:
        names = (*map(str, self._bounds), "+Inf")
        buckets = [*zip(names, accumulate(self._counts), strict=True)]
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


class Metrics:
    """The metrics of one process. `observe` is called once for each exchange that is over."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = _Counted("extproc_requests", "Exchanges, by operation and status.", "operation", "status")
        self._refusals = _Counted("extproc_refusals", "Exchanges refused, by reason.", "reason")
        self._over = _Counted("extproc_limit_over", "Exchanges beyond a limit without refusal.", "kind", "setting")
        self._outage = _Counted("extproc_outage_exchanges", "Exchanges that were counted in this process alone.")
        self._tokens = _Counted("extproc_tokens", "Tokens used.", "model", "provider", "direction")
        self._spend = _Counted(
            "extproc_spend_usd", "Spend in US dollars.", "model", "provider", divisor=NANOS_PER_DOLLAR
        )
        # By the names that alerts on LiteLLM's security page ask for, without labels; from zero on, for `rate`.
        self._results = _Counted("litellm_requests", "Exchanges, by result.", "status")
        self._all_spend = _Counted("litellm_spend", "Spend in US dollars.", divisor=NANOS_PER_DOLLAR)
        for result in ("success", "error"):
            self._results.add(0, result)
        self._all_spend.add(0)
        self._unpriced = _Counted("extproc_unpriced", "Exchanges without a known price.", "model", "provider")
        self._estimated = _Counted("extproc_estimated", "Exchanges whose usage was estimated.", "model", "cut")
        self._redactions = _Counted(
            "extproc_redactions", "What was found in texts, and what was done.", "entity", "direction", "action"
        )
        self._unsearched = _Counted("extproc_unsearched", "Exchanges let pass without a search, by reason.", "reason")
        self._failed = _Counted(
            "extproc_authentication_failures", "Callers who could not prove who they are, by reason.", "reason"
        )
        self._contents = _Counted("extproc_contents", "What was said, by what became of it.", "result")
        self._purged = _Counted("extproc_ledger_purged_rows", "Rows of the ledger that were purged for their age.")
        self._added = _Observed("extproc_added_seconds", "Time spent in this process per exchange.", _SECONDS)
        self._duration = _Observed("extproc_exchange_seconds", "Duration of an exchange.", _LONG_SECONDS)
        for collector in (
            self._requests, self._refusals, self._over, self._outage, self._tokens, self._spend, self._unpriced,
            self._estimated, self._redactions, self._unsearched, self._failed, self._contents, self._purged,
            self._added, self._duration, self._results, self._all_spend,
        ):  # fmt: skip
            self.registry.register(collector)
        told = "1 where the manager of secrets gave the value when it was asked last."
        self._secret_up = Gauge("extproc_secret_up", told, ("reference",), registry=self.registry)
        self._purged_at = Gauge(
            "extproc_ledger_purged_at_seconds", "When the ledger was purged.", registry=self.registry
        )
        self._store_up = Gauge("extproc_store_up", "1 where the store answers.", ("store",), registry=self.registry)

    def observe(self, outcome: Outcome, busy_nanoseconds: int, model_name: str) -> None:
        """Count one exchange; `model_name` is the deployment's name, `""` where none was chosen."""
        self._requests.add(1, outcome.receipt.operation if outcome.receipt else "", str(outcome.status))
        self._results.add(1, "success" if 0 < outcome.status < HTTPStatus.BAD_REQUEST else "error")
        if outcome.reason:
            self._refusals.add(1, outcome.reason)
        for limit in outcome.over:
            kind, _, setting = limit.partition(":")
            # Of `budget_limits:2h` the duration is anybody's choice, and no label.
            self._over.add(1, kind, setting.partition(":")[0])
        if outcome.outage:
            self._outage.add(1)
        for (direction, entity, action), count in outcome.redactions.items():
            self._redactions.add(count, entity, direction, action)
        if outcome.unsearched:
            self._unsearched.add(1, outcome.unsearched)
        self._added.observe(busy_nanoseconds / 1e9)
        self._duration.observe((outcome.ended_at - outcome.started_at) / 1000)
        if outcome.receipt is not None:
            self._observe_receipt(outcome.receipt, model_name)

    def authentication_failed(self, reason: str) -> None:
        """Count a caller who could not prove who they are, on either way in."""
        self._failed.add(1, reason)

    def content(self, result: str, exchanges: int) -> None:
        """Count exchanges of which what was said is `stored`, or for which reason it is not."""
        self._contents.add(exchanges, result)

    def ledger_purged(self, rows: int, at: UnixMs) -> None:
        """Count a purge that is over."""
        self._purged.add(rows)
        self._purged_at.set(at / 1_000)

    def store_up(self, store: str, up: bool) -> None:
        """Set the 0/1 gauge of a store."""
        self._store_up.labels(store).set(int(up))

    def secret_up(self, reference: str, up: bool) -> None:
        """Set the 0/1 gauge of a reference, which says where a secret is and nothing of it."""
        self._secret_up.labels(reference).set(int(up))

    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """A gauge whose value is asked for at each scrape."""
        Gauge(name, documentation, registry=self.registry).set_function(read)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)

    def _observe_receipt(self, receipt: Receipt, model: str) -> None:
        provider = receipt.provider
        self._tokens.add(receipt.usage.input_tokens, model, provider, "input")
        self._tokens.add(receipt.usage.output_tokens, model, provider, "output")
        if receipt.spend is None:
            self._unpriced.add(1, model, provider)
        else:
            self._spend.add(receipt.spend, model, provider)
            self._all_spend.add(receipt.spend)
        if receipt.estimated:
            self._estimated.add(1, model, str(receipt.cut).lower())
