"""Prompts → masks, with a Segment Anything network."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidImage
from groundlook.core.mask import Mask
from groundlook.core.plan import ModelSpec
from groundlook.core.ports import Encodings, Progress
from groundlook.core.prompts import Cut, Picture, Prompts
from groundlook.core.types import ModelVersion
from groundlook.models.pixels import as_rgb
from groundlook.models.sam import quality
from groundlook.models.sam.architectures import ARCHS, Architecture
from groundlook.models.sam.asked import Asked, check
from groundlook.models.sam.frame import Frame, Logits
from groundlook.models.sam.halves import Halves
from groundlook.models.sam.propose import Grid, propose
from groundlook.models.sam.tidy import without_crumbs

_REMEMBERED = 64
"""Earlier answers, 256 KB each with the large networks."""


class SamSegmenter:
    """A Segmenter. Make one with `load`.

    Thread-safe: pictures are encoded one at a time, since one takes all cores and gigabytes; everything else runs side
    by side. Embeddings are kept in half precision and used as they are kept, so that the first answer is the same as
    every later one.

    Refining: an object's points are taken one after the other, each with the logits of the answer before it as mask
    input, which is how SAM was trained. So the answer after a click builds on the one that the annotator saw, and still
    depends on pixels and prompts alone; the last answers are remembered to save time. One click is answered by the best
    of SAM's three masks, by the IoU it expects; a box, or more clicks, by its single mask.
    """

    def __init__(
        self,
        version: ModelVersion,
        arch: Architecture,
        halves: Halves,
        encodings: Encodings,
        calibration: quality.Calibration | None,
        options: Mapping[str, Any],
    ) -> None:
        self._version, self._arch, self._halves, self._encodings = version, arch, halves, encodings
        self.calibration, self.options = calibration, dict(options)
        self._encoding = threading.Lock()
        self._memory: OrderedDict[tuple[str, bytes], Logits] = OrderedDict()
        self._remembering = threading.Lock()

    @classmethod
    def load(
        cls,
        spec: ModelSpec,
        weights: Path,
        encodings: Encodings,
        folder: Path,
        *,
        runtime: str | None = None,
        device: str | None = None,
    ) -> SamSegmenter:
        """The network `spec.arch`, or the one that the tensors at `weights` are of, checked against `spec.sha256`.

        Slow the first time on a machine: the fastest runtime is found out (`runtime.select`), and kept under `folder`.
        `runtime`: this one, for both halves; `device`: "cpu" or "cuda". A calibration beside the weights is used, see
        `quality`. Options of `spec`: see `propose.Grid`. Raises InvalidWeights, InvalidConfig, InvalidInput.
        """
        halves, version = Halves.of(spec, weights, folder, runtime, device)
        Grid.of(spec.options)  # says now what is wrong with them
        return cls(version, ARCHS[halves.arch], halves, encodings, quality.load(weights), spec.options)

    @property
    def version(self) -> ModelVersion:
        """Of weights, code and calibration."""
        return self._version.under("" if self.calibration is None else repr(self.calibration))

    @property
    def sees(self) -> int:
        """The longest side, px, that it takes in without making a picture smaller."""
        return self._arch.size

    def __str__(self) -> str:
        """Network and runtimes, for the log."""
        return str(self._halves)

    def encode(self, picture: Picture) -> bool:
        """Make and keep the embedding; False where it was kept. Raises what `picture.read` raises, InvalidInput."""
        key = self._key(picture)
        if self._encodings.has(key):
            return False
        made = threading.Event()
        self._encodings.get(key, lambda: self._make(picture, made), bulk=True)
        return made.is_set()

    def segment(self, picture: Picture, prompts: Sequence[Prompts]) -> list[Cut]:
        """One mask per prompt, in order, of the picture's size. Coordinates are SamPredictor's: x then y, px.

        Raises InvalidInput that names the prompt, what `picture.read` raises, InvalidImage.
        """
        frame = self.frame(picture)
        asked = [check(one, picture.size, f"prompt {i + 1}") for i, one in enumerate(prompts)]
        if not asked:
            return []
        embedding = self.embedding(picture)
        return [
            self.cut(self._answer(picture.key, embedding, frame, one), frame, one.points[one.positive]) for one in asked
        ]

    def propose(self, picture: Picture, progress: Progress) -> list[Cut]:
        """Every object that a regular grid of points finds, without duplicates, best first: see `propose`."""
        return propose(self, picture, Grid.of(self.options), progress)

    def frame(self, picture: Picture) -> Frame:
        """Raises InvalidInput for a picture over the limit."""
        return Frame.of(picture.size, self._arch.size, self._arch.low)

    def embedding(self, picture: Picture, bulk: bool = False) -> NDArray[np.float32]:
        """(1, C, h, w), made if it is not kept."""
        kept = self._encodings.get(self._key(picture), lambda: self._make(picture), bulk=bulk)
        return np.asarray(kept["embedding"], np.float32)[None]

    def decode(
        self,
        embedding: NDArray[np.float32],
        points: NDArray[np.float32],
        labels: NDArray[np.float32],
        mask: Logits | None = None,
    ) -> tuple[Logits, NDArray[np.float32]]:
        """Logits (N, 4, low, low) and quality (N, 4) of N objects: `points` (N, K, 2) in the encoder's square, `labels`
        (N, K) see `asked`, `mask` (low, low) the mask input of all of them."""
        count, low = len(points), self._arch.low
        given = np.zeros((count, 1, low, low), np.float32)
        if mask is not None:
            given[:] = mask
        has = np.full((count, 1, 1, 1), mask is not None, np.float32)
        logits, expected = self._halves.decoder(embedding, points, labels, given, has)
        return logits, expected

    def cut(self, decoded: quality.Decoded, frame: Frame, asked: NDArray[np.float32] | None = None) -> Cut:
        """The mask in picture pixels, without crumbs where `asked`, the positive points, says what was meant. Its score
        is what the calibration makes of predicted IoU × stability; without a calibration it is that product itself. An
        empty mask has score 0."""
        rows, columns = frame.shown
        terms = decoded.terms(rows, columns)
        inside = frame.enlarge(decoded.logits[decoded.chosen]) > 0
        mask = Mask.of(inside if asked is None else without_crumbs(inside, asked))
        if len(mask.runs) == 0:
            return Cut(mask, 0.0, terms)
        raw = quality.raw_score(terms["predicted_iou"], terms["stability"])
        return Cut(mask, raw if self.calibration is None else self.calibration(raw), terms)

    def _key(self, picture: Picture) -> str:
        return f"{self._version}|{picture.key}"  # not the calibration's: a new one costs no embedding

    def _make(self, picture: Picture, made: threading.Event | None = None) -> dict[str, NDArray[np.float16]]:
        frame = self.frame(picture)
        rgb = as_rgb(picture.read())
        if (rgb.shape[1], rgb.shape[0]) != picture.size:
            found, said = f"{rgb.shape[1]} × {rgb.shape[0]}", "{} × {}".format(*picture.size)
            raise InvalidImage(f"the picture is {found} px and was {said}: it was changed; load the task again")
        given = frame.enter(rgb)
        with self._encoding:
            (embedding,) = self._halves.encoder(given)
        if made is not None:
            made.set()
        return {"embedding": embedding[0].astype(np.float16)}

    def _answer(self, key: str, embedding: NDArray[np.float32], frame: Frame, asked: Asked) -> quality.Decoded:
        """The answer to all points, by way of the answers to fewer."""
        before: Logits | None = None if asked.mask is None else frame.mask(asked.mask)
        for count in range(asked.start, len(asked.points)):
            name = (key, asked.name(count))
            known = self._recall(name)
            if known is None:
                known = self._keep(name, self._step(embedding, frame, asked, count, before))
            before = known
        decoded = self._step(embedding, frame, asked, len(asked.points), before)
        self._keep((key, asked.name(len(asked.points))), decoded)
        return decoded

    def _step(
        self, embedding: NDArray[np.float32], frame: Frame, asked: Asked, count: int, before: Logits | None
    ) -> quality.Decoded:
        points, labels = asked.tokens(count)
        logits, expected = self.decode(embedding, frame.points(points[0])[None], labels, before)
        chosen = 1 + int(expected[0, 1:].argmax()) if asked.ambiguous(count) else 0
        return quality.Decoded(logits[0], expected[0], chosen)

    def _recall(self, name: tuple[str, bytes]) -> Logits | None:
        with self._remembering:
            if name in self._memory:
                self._memory.move_to_end(name)
            return self._memory.get(name)

    def _keep(self, name: tuple[str, bytes], decoded: quality.Decoded) -> Logits:
        logits: Logits = decoded.logits[decoded.chosen].copy()  # not the other three with it
        with self._remembering:
            self._memory[name] = logits
            while len(self._memory) > _REMEMBERED:
                self._memory.popitem(last=False)
        return logits
