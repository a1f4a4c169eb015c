"""What /metrics tells Prometheus. Counters live in this process; the rest is read from store and jobs when asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from groundlook.loop import Loop
from groundlook.loop.answer import served_version

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

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One gauge family after another."""
        yield from self._projects()
        yield from self._jobs()

    def _projects(self) -> Iterator[GaugeMetricFamily]:
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

    def _jobs(self) -> Iterator[GaugeMetricFamily]:
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
