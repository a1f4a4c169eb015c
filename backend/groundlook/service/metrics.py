"""What /metrics tells Prometheus. Counters live in this process; the rest is read from store and jobs when asked."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from groundlook.loop import Loop
from groundlook.loop.answer import served_version
from groundlook.loop.publish import BARE, TAKEN

REGISTRY = CollectorRegistry()
PREDICTIONS = Counter("groundlook_predictions", "Predictions answered", registry=REGISTRY)
PREDICT_SECONDS = Histogram("groundlook_predict_seconds", "Seconds per /predict request", registry=REGISTRY)
CLICKS = Counter("groundlook_clicks", "Prompts of smart tools answered", registry=REGISTRY)
ENCODES = Counter("groundlook_encodes", "Pictures encoded for smart tools", registry=REGISTRY)
INTERACTIVE_SECONDS = Histogram("groundlook_interactive_seconds", "Seconds per interactive request", registry=REGISTRY)
EVENTS = Counter("groundlook_events", "Webhook events", ["action"], registry=REGISTRY)
ERRORS = Counter("groundlook_errors", "Tasks that got no prediction, by error", ["kind"], registry=REGISTRY)


class LoopCollector(Collector):
    """The state of every connected project, at the moment of the scrape."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def collect(self) -> Iterator[Metric]:
        """One family after another."""
        yield from self._projects()
        yield from self._rankings()
        yield from self._jobs()

    def _rankings(self) -> Iterator[Metric]:
        """Out of the windows, which the worker makes: its own counters would never get here."""
        total = CounterMetricFamily(
            "groundlook_rank_fallbacks", "Windows of the last good order", labels=["strategy", "reason"]
        )
        now = GaugeMetricFamily("groundlook_rank_fallback", "1 while the last good order is served", labels=["project"])
        bare = GaugeMetricFamily(
            "groundlook_rank_bare", "Open tasks that the last window had no features of", labels=["project"]
        )
        taken = CounterMetricFamily(
            "groundlook_windows_taken", "Windows of another home that this one replaced", labels=["project"]
        )
        counts: Counts[tuple[str, str]] = Counts()
        for project in self._loop.store.projects():
            windows = self._loop.store.windows(project.id)
            counts.update((w.strategy, _kind(w.fallback)) for w in windows if w.fallback)
            now.add_metric([str(project.id)], float(bool(windows and windows[-1].fallback)))
            bare.add_metric([str(project.id)], self._loop.store.value(project.id, BARE))
            taken.add_metric([str(project.id)], self._loop.store.value(project.id, TAKEN))
        for key, number in sorted(counts.items()):
            total.add_metric(list(key), number)
        yield from (total, now, bare, taken)

    def _projects(self) -> Iterator[Metric]:
        served = GaugeMetricFamily("groundlook_annotations", "Annotations known", labels=["project"])
        left = GaugeMetricFamily("groundlook_window_left", "Unanswered tasks of the window", labels=["project"])
        version = GaugeMetricFamily("groundlook_serving", "1 for the served version", labels=["project", "version"])
        map50 = GaugeMetricFamily("groundlook_map50", "Held-out mAP50 of the serving model", labels=["project"])
        for project in self._loop.store.projects():
            name = str(project.id)
            done = self._loop.store.served(project.id)
            answered = {a.task_id for a in done}
            window = self._loop.store.current_window(project.id)
            served.add_metric([name], len(done))
            left.add_metric([name], sum(t.task_id not in answered for t in window.tasks) if window else 0)
            version.add_metric([name, served_version(self._loop, project.id)[0]], 1)
            card = self._loop.registry.serving(project.id)
            if card is not None and "map50" in card.metrics:
                map50.add_metric([name], card.metrics["map50"])
        yield from (served, left, version, map50)

    def _jobs(self) -> Iterator[Metric]:
        count = GaugeMetricFamily("groundlook_jobs", "Jobs by kind and state", labels=["kind", "state"])
        progress = GaugeMetricFamily("groundlook_job_progress", "Running jobs, 0 to 1", labels=["kind", "project"])
        counts: dict[tuple[str, str], int] = {}
        for job in self._loop.jobs.jobs():
            counts[job.kind, job.state] = counts.get((job.kind, job.state), 0) + 1
            if job.state == "running":
                progress.add_metric([job.kind, str(job.project)], job.progress)
        for (kind, state), number in sorted(counts.items()):
            count.add_metric([kind, state], number)
        yield from (count, progress)


def _kind(fallback: str) -> str:
    """Of an error "InvalidInput: …": few enough to label by."""
    return fallback.partition(":")[0].partition(",")[0]
