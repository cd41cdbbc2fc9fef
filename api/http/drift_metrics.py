"""What Prometheus reads of drift: labels are analyses and groups of values, nothing of patients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from records.database import DatabaseUnavailable
from records.listing import DriftRow


class DriftCollector(Collector):
    """Gauges of the last look at each analysis; none while the database does not answer."""

    def __init__(self, looks: Callable[[], Sequence[DriftRow]]) -> None:
        self._looks = looks

    def describe(self) -> list[Metric]:
        """Return nothing: registering must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges of this moment."""
        try:
            looks = self._looks()
        except DatabaseUnavailable:
            return
        drifted = GaugeMetricFamily(
            "nightshift_drift", "1 while an analysis drifts.", labels=("analysis",)
        )
        values = GaugeMetricFamily(
            "nightshift_drift_values",
            "Values that drift, by group: tag, intensity, output.",
            labels=("analysis", "group"),
        )
        index = GaugeMetricFamily(
            "nightshift_drift_psi",
            "Largest population stability index, by group.",
            labels=("analysis", "group"),
        )
        age = GaugeMetricFamily(
            "nightshift_drift_look_seconds", "Age of the last look.", labels=("analysis",)
        )
        for look in looks:
            drifted.add_metric([look.analysis], look.drifted)
            age.add_metric([look.analysis], (datetime.now(UTC) - look.looked_at).total_seconds())
            for group in ("tag", "intensity", "output"):
                compared = [
                    one
                    for one in look.document["comparisons"]
                    if one["name"].startswith(f"{group}.")
                ]
                values.add_metric([look.analysis, group], sum(one["drifted"] for one in compared))
                largest = max((one["psi"] for one in compared), default=0.0)
                index.add_metric([look.analysis, group], largest)
        yield from (drifted, values, index, age)
