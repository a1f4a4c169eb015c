"""The encoder and the decoder of one set of weights, each in its runtime."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from math import isnan
from pathlib import Path

from groundlook.core.plan import ModelSpec
from groundlook.core.types import ModelVersion
from groundlook.models.runtime import Compiled, compiled
from groundlook.models.sam import given
from groundlook.models.sam.architectures import ARCHS, ONNX
from groundlook.models.sam.build import CODE, decoder_network, encoder_network
from groundlook.models.sam.checkpoint import read_fitting
from groundlook.models.weights.file import digest

TOLERANCE = 0.03
"""Relative error of an embedding against float32 PyTorch: that of bfloat16 is near .011."""


@dataclass(frozen=True, slots=True)
class Halves:
    """`arch`: its name in `ARCHS`. Networks and inputs are those of `build`. The decoder always computes in float32:
    it is the quick half, and says how sure an answer is."""

    arch: str
    encoder: Compiled
    decoder: Compiled

    @classmethod
    def of(
        cls, spec: ModelSpec, weights: Path, folder: Path, runtime: str | None, device: str | None
    ) -> tuple[Halves, ModelVersion]:
        """Raises InvalidWeights, InvalidInput for a runtime that is not there."""
        arch, _ = read_fitting(weights, spec.arch, spec.sha256)
        name = digest(weights)
        made = partial(compiled, folder=folder, device=device)
        decoder = decoder_network(arch, weights, name)
        if arch == ONNX:
            path = given.path_of(spec.options)
            encoder: Compiled = given.load(path, ARCHS[arch])
            name = f"{name}|{digest(path)}"
        else:
            encoder = made(encoder_network(arch, weights, name), tolerance=TOLERANCE, runtime=runtime)
        found = cls(arch, encoder, made(decoder, exact=True, runtime=_exact(runtime)))
        return found, ModelVersion(spec.name, sha256(f"{CODE}|{arch}|{name}".encode()).hexdigest()[:12])

    def __str__(self) -> str:
        return f"SAM {self.arch}: encoder in {_said(self.encoder)}; decoder in {_said(self.decoder)}"


def _said(one: Compiled) -> str:
    return one.runtime if isnan(one.error) else f"{one.runtime}, off by {one.error:.2%}"


def _exact(runtime: str | None) -> str | None:
    """The float32 runtime nearest to one that was asked for."""
    if runtime is None or "bf16" not in runtime:
        return runtime
    return "openvino f32" if runtime.startswith("openvino") else runtime.removesuffix(" bf16")
