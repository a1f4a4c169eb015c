"""Models that an admin brings: SAM behind smart tools, and those that a plan names."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from groundlook.core.errors import Busy, GroundlookError, InvalidConfig, InvalidWeights
from groundlook.core.plan import ModelSpec, Plan
from groundlook.core.ports import Encodings, Model, Segmenter
from groundlook.core.types import ModelCard, Project
from groundlook.learning.registry import file_sha256, version_of
from groundlook.loop.route import plan_of
from groundlook.models.weights.fetch import fetch
from groundlook.service.kinds import kind_of

log = logging.getLogger("groundlook.service")

T = TypeVar("T")

SAM = "sam"
"""The kind that answers prompts; in routes it proposes everything that looks like one object."""
KEPT = 3
"""Segmenters in memory, the ones used last."""
WAITING = 4
"""How many wait for one model that is made ready; further ones are told at once."""
PATIENCE = 60.0
"""Seconds that a click waits while its model is made ready: Label Studio gives up after 100."""


class Brought:
    """Loads what plans and settings name, each once. Implements `core.ports.Segmenters`.

    `sam`: the service's own segmenter, None for none. `folder`: where downloads and exports for this machine are kept.
    `patience`: seconds that one waits for a model that is made ready.
    """

    def __init__(
        self,
        sam: ModelSpec | None,
        encodings: Encodings,
        folder: Path,
        runtime: str = "",
        patience: float = PATIENCE,
    ) -> None:
        self.sam, self._patience = sam, patience
        self._encodings, self._folder, self._runtime = encodings, folder, runtime or None
        self._segmenters: OrderedDict[str, _Loading[Segmenter]] = OrderedDict()
        self._lock = threading.Lock()

    def interactive(self, project: Project) -> Segmenter | None:
        """See `core.ports.Segmenters`. Raises Busy where it is not ready in time."""
        plan = plan_of(project)
        spec = plan.models[plan.interactive] if plan.interactive else self.sam
        return None if spec is None else self.segmenter(spec)

    def warm(self) -> None:
        """Begin to make the service's own segmenter ready; what goes wrong is told to whoever asks for it."""
        if self.sam is not None:
            self._loading(self.sam)

    def segmenter(self, spec: ModelSpec) -> Segmenter:
        """The segmenter of `spec`. Raises InvalidConfig where its kind takes no prompts, InvalidWeights, Busy."""
        return self._loading(spec).result(self._patience)

    def _loading(self, spec: ModelSpec) -> _Loading[Segmenter]:
        # Neither name nor labels: projects that name the same file share it.
        key = repr((spec.kind, spec.weights, spec.sha256, spec.arch, sorted(spec.options.items())))
        with self._lock:
            known = self._segmenters.get(key)
            if known is None or known.failed:  # the file may be there by now
                known = self._segmenters[key] = _Loading(spec.name, lambda: self._load_segmenter(spec))
            self._segmenters.move_to_end(key)
            while len(self._segmenters) > KEPT:
                self._segmenters.popitem(last=False)
            return known

    def _load_segmenter(self, spec: ModelSpec) -> Segmenter:
        loader = kind_of(spec.kind).load()
        if not hasattr(loader, "segmenter"):
            raise InvalidConfig(
                f"model {spec.name!r} is of kind {spec.kind!r}, which takes no prompts; use one of {SAM!r}"
            )
        started = time.monotonic()
        found: Segmenter = loader.segmenter(
            spec, self.locate(spec), self._encodings, self._folder, runtime=self._runtime
        )
        log.info("%s is ready to answer prompts after %.1f s: %s", spec.name, time.monotonic() - started, found)
        return found

    def model(self, plan: Plan, name: str, refine: str, labels: tuple[str, ...], least: float) -> Model:
        """The model that a route names, its boxes refined where it says so. Raises InvalidWeights, InvalidConfig."""
        found = self.made(plan.models[name], labels, least)
        return self.refined(found, plan.models[refine]) if refine else found

    def made(self, spec: ModelSpec, labels: tuple[str, ...] | None, least: float) -> Model:
        """The model of `spec` for `labels`, None for its own; regions have a score of `least` or more. A kind that
        answers prompts proposes what looks like one object. Raises InvalidWeights, InvalidConfig."""
        kind = kind_of(spec.kind)
        loader = kind.load()
        if hasattr(loader, "segmenter"):
            proposer: Model = loader.proposer(self.segmenter(spec), labels or spec.classes, spec)
            return proposer
        weights = self.locate(spec)
        digest = file_sha256(weights)
        card = ModelCard(
            version_of(spec.kind, ["", spec.arch, digest]),
            spec.kind,
            spec.arch,
            spec.classes,
            digest,
            verdict="imported",
        )
        more = {name: spec.options[name] for name in kind.options if name in spec.options}
        if kind.fast:
            more |= {"runtime": self._runtime or "fast", "folder": self._folder}
        found: Model = loader.load(card, weights, labels, dict(spec.label_map) or None, confidence=least, **more)
        log.info("model %r: %s", spec.name, found.stated() if hasattr(found, "stated") else found)
        return found

    def refined(self, model: Model, spec: ModelSpec) -> Model:
        """`model` with its boxes turned into masks by the segmenter of `spec`."""
        from groundlook.models.sam.refined import Refined

        return Refined(model, self.segmenter(spec))

    def runtimes(self) -> list[str]:
        """What each network was found to run fastest in, on this machine."""
        from groundlook.models.runtime.record import describe

        return describe(self._folder)

    def found(self, spec: ModelSpec) -> bool:
        """Whether its weights are on this machine. Downloads nothing."""
        if "://" in spec.weights:
            return any((self._folder / "weights").glob(f"{spec.sha256.lower()}.*"))
        return bool(spec.weights) and Path(spec.weights).expanduser().is_file()

    def locate(self, spec: ModelSpec) -> Path:
        """The file of its weights, downloaded where it is a URL. Raises InvalidWeights that says what to do."""
        if spec.sha256:
            return fetch(spec.weights, spec.sha256, self._folder / "weights", progress=_told(spec.name))
        path = Path(spec.weights).expanduser()
        if not spec.weights or not path.is_file():
            raise InvalidWeights(
                f"the weights of model {spec.name!r} are missing: {spec.weights or 'no path'}; put the file there, or "
                "give an https URL with its sha256"
            )
        return path


def _told(name: str) -> Callable[[float, str], None]:
    """Progress of a download, a line in the log for every tenth."""
    last = -1

    def tell(done: float, text: str) -> None:
        nonlocal last
        if int(done * 10) > last:
            last = int(done * 10)
            log.info("weights of %s: %s", name, text)

    return tell


class _Loading(Generic[T]):
    """Something that is made in a thread of its own, once; everybody waits for the same."""

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._name, self._make, self._done = name, make, threading.Event()
        self._places = threading.BoundedSemaphore(WAITING)
        self._found: T | None = None
        self._error: Exception | None = None
        threading.Thread(target=self._run, name=f"load {name}", daemon=True).start()

    def _run(self) -> None:
        try:
            self._found = self._make()
        except Exception as error:
            self._error = error
            known = isinstance(error, GroundlookError)
            log.warning("model %s can't be loaded: %s", self._name, error, exc_info=None if known else error)
        finally:
            self._done.set()

    @property
    def failed(self) -> bool:
        """Whether it ended in an error."""
        return self._done.is_set() and self._error is not None

    def result(self, seconds: float) -> T:
        """What was made. Raises what making it raised, and Busy after `seconds`, or at once where many wait already."""
        if not self._done.is_set() and self._places.acquire(blocking=False):
            try:
                self._done.wait(seconds)
            finally:
                self._places.release()
        if not self._done.is_set():
            raise Busy(f"model {self._name!r} is being made ready for this machine, once; try again in a minute")
        if self._error is not None:
            raise self._error
        assert self._found is not None  # noqa: S101 (narrows for the type checker)
        return self._found
