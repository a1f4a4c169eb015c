"""Kills real processes at chosen moments of a run, and starts again what does not come back by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

import psutil

from groundlook.demo.house import House
from groundlook.service.wiring import Wired, wire


class Saboteur:
    """Five kills, each once, in this order, each as soon as its moment has come. An act is False until it is done."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._wired: Wired = wire(house.backend.settings)
        self._stop = threading.Event()
        self._steps: set[str] = set()
        self._thread = threading.Thread(target=self._watch, name="saboteur")
        self._acts: list[tuple[str, Callable[[], bool]]] = [
            ("service while people label", lambda: self._answers() >= 3 and self._service()),
            ("training", lambda: self._running("learn", 0.1) and self._kill("train_child")),
            ("worker", lambda: self._running("learn", 0.3) and self._kill("worker")),
            ("service while the pool is looked at", lambda: self._running("refresh", 0.05) and self._service()),
            ("service after a verdict", lambda: self._verdicts() >= 2 and self._service()),
        ]
        self.planned = [name for name, _ in self._acts]
        self.done: list[str] = []

    def step(self, name: str) -> None:
        """Hears of the run's steps."""
        self._steps.add(name)

    def __enter__(self) -> Saboteur:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._wired.close()

    def _watch(self) -> None:
        for name, act in self._acts:
            while not act():
                if self._stop.wait(0.03):
                    return
            self.done.append(name)

    def _answers(self) -> int:
        return len(self._wired.store.served(self._house.project))

    def _running(self, kind: str, least: float) -> bool:
        if kind == "refresh" and self._wired.registry.serving(self._house.project) is None:
            return False
        jobs = self._wired.jobs.jobs(self._house.project)
        return any(j.kind == kind and j.state == "running" and j.progress >= least for j in jobs)

    def _verdicts(self) -> int:
        return len(self._wired.registry.cards(self._house.project))

    def _service(self) -> bool:
        self._house.backend.kill()
        time.sleep(1.5)
        self._house.backend.start()
        return True

    def _kill(self, part: str) -> bool:
        """One of the service's processes; what kept it starts it, or its job, again. False while it doesn't run yet:
        a job says how far it is before the process that does the work has started."""
        pid = self._house.backend.pid
        assert pid is not None
        for child in psutil.Process(pid).children(recursive=True):
            try:
                words = child.cmdline()
            except psutil.NoSuchProcess:
                continue
            if any(part in word for word in words):
                child.kill()
                return True
        return False
