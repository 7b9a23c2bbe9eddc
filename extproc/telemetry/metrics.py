"""Prometheus metrics with bounded labels.

Labels come from closed sets only: API, status class, reason, provider, and the configured model names. A name that a
client made up (a wildcard's match) is counted under the deployment's own `model_name`; keys, users and addresses are
never labels. Names of LiteLLM's metrics that dashboards use stand beside ours where they mean the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from extproc.model import NANOS_PER_DOLLAR, Outcome, Receipt

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_LONG_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """The metrics of one process. `observe` is called once for each exchange that is over."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = self._counter("extproc_requests", "Exchanges, by API path and status.", "path", "status")
        self._refusals = self._counter("extproc_refusals", "Exchanges refused, by reason.", "reason")
        self._tokens = self._counter("extproc_tokens", "Tokens used.", "model", "provider", "direction")
        self._spend = self._counter("extproc_spend_usd", "Spend in US dollars.", "model", "provider")
        self._unpriced = self._counter("extproc_unpriced", "Exchanges without a known price.", "model", "provider")
        self._estimated = self._counter("extproc_estimated", "Exchanges whose usage was estimated.", "model", "cut")
        self._added = self._histogram("extproc_added_seconds", "Time spent in this process per exchange.", _SECONDS)
        self._duration = self._histogram("extproc_exchange_seconds", "Duration of an exchange.", _LONG_SECONDS)
        self._store_up = Gauge("extproc_store_up", "1 where the store answers.", ("store",), registry=self.registry)
        self._children: dict[tuple[Any, ...], Any] = {}

    def observe(self, outcome: Outcome, busy_nanoseconds: int, model_name: str) -> None:
        """Count one exchange; `model_name` is the deployment's name, `""` where none was chosen."""
        self._child(self._requests, outcome.path if model_name else "", str(outcome.status)).inc()
        if outcome.reason:
            self._child(self._refusals, outcome.reason).inc()
        self._added.observe(busy_nanoseconds / 1e9)
        self._duration.observe((outcome.ended_at - outcome.started_at) / 1000)
        if outcome.receipt is not None:
            self._observe_receipt(outcome.receipt, model_name)

    def store_up(self, store: str, up: bool) -> None:
        """Set the 0/1 gauge of a store."""
        self._store_up.labels(store).set(int(up))

    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """A gauge whose value is asked for at each scrape."""
        Gauge(name, documentation, registry=self.registry).set_function(read)

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)

    def _observe_receipt(self, receipt: Receipt, model: str) -> None:
        provider = receipt.provider
        self._child(self._tokens, model, provider, "input").inc(receipt.usage.input_tokens)
        self._child(self._tokens, model, provider, "output").inc(receipt.usage.output_tokens)
        if receipt.spend is None:
            self._child(self._unpriced, model, provider).inc()
        else:
            self._child(self._spend, model, provider).inc(receipt.spend / NANOS_PER_DOLLAR)
        if receipt.estimated:
            self._child(self._estimated, model, str(receipt.cut).lower()).inc()

    def _child(self, metric: Counter, *labels: str) -> Any:
        """`labels()` costs four times as much as a look into a dictionary."""
        child = self._children.get((metric, *labels))
        if child is None:
            child = self._children[(metric, *labels)] = metric.labels(*labels)
        return child

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, registry=self.registry)

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, documentation, buckets=buckets, registry=self.registry)
