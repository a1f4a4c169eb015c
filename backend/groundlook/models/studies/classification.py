"""A classification study: features of labelled images, and a head that learns from some of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.pool import Fitted, Pool
from groundlook.core.unsure import margin
from groundlook.models.studies.head import Head, LogisticHead, Seen, left_out, unit
from groundlook.models.studies.spread import SpreadHead

HEADS: dict[str, type[Head]] = {"spread": SpreadHead, "logistic": LogisticHead}
SECONDS = 3.0
"""What a person takes to say one class of one image."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStudy:
    """Implements `core.ports.Study`. `train`: float32 (N, D), features of the images that may be labelled, `classes`:
    int64 (N,) of them, 0…C − 1; `test`, `truth`: of the test part; `names`: the C classes. Quality is accuracy.

    A pool's score is one minus the margin between the two likeliest classes, 0…1; its embedding what the head learns
    from, rows of length 1; `held_out` the leave-one-out accuracy of a ridge classifier."""

    name: str
    train: NDArray[np.float32]
    classes: NDArray[np.int64]
    test: NDArray[np.float32]
    truth: NDArray[np.int64]
    names: tuple[str, ...]
    head: Head = field(default_factory=SpreadHead)
    kind: str = "classification"
    measure: str = "accuracy"
    _ready: list[Seen] = field(default_factory=list, init=False, repr=False)

    @property
    def labels(self) -> NDArray[np.float64]:
        """See `core.ports.Study`: 1 each."""
        return np.ones(len(self.train))

    @property
    def seconds(self) -> NDArray[np.float64]:
        """See `core.ports.Study`."""
        return np.full(len(self.train), SECONDS)

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """See `core.ports.Study`: every image has its class."""
        return np.ones(len(self.train), bool)

    def fit(self, labelled: NDArray[np.int64], seed: int) -> Fitted:
        """See `core.ports.Study`."""
        seen = self._prepared()
        embedding = unit(seen.train).astype(np.float32)
        rest = np.setdiff1d(np.arange(len(self.train)), labelled)
        known = self.classes[labelled]
        pool = Pool(
            ids=rest,
            score=np.full(len(rest), np.nan),
            embedding=embedding[rest],
            labelled=embedding[labelled],
            kind=self.kind,
            have=np.bincount(known, minlength=len(self.names)).astype(np.float64),
            seconds=self.seconds[rest],
        )
        if len(labelled) == 0:
            return Fitted(float("nan"), pool)
        mine, tested = self.head.fit(seen, labelled, known, len(self.names), seed)
        quality = float((tested.argmax(1) == self.truth).mean())
        asked = replace(pool, score=margin(mine[rest]), proba=mine[rest], classes=known)
        return Fitted(quality, asked, left_out(seen.train[labelled], known))

    def _prepared(self) -> Seen:
        if not self._ready:
            if len(self.train) < 2 or len(self.test) == 0:
                raise InvalidInput(f"{self.name} has {len(self.train)} images to label and {len(self.test)} to test on")
            self._ready.append(self.head.prepare(self.train, self.test))
        return self._ready[0]
