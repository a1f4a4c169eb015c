"""A training process whose GPU is full with more than one picture at a time, or whatever their number."""

from __future__ import annotations

from typing import Any

import torch

from groundlook.core.process import report
from groundlook.models.training import child
from groundlook.models.training.loop import Batch, fit


def main(spec: dict[str, Any]) -> None:
    """Learn to give zero; of an odd arch, never."""

    def loss_of(network: Any, batch: Batch) -> torch.Tensor:
        if len(batch) > 1 or spec["arch"] == "never":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has …")
        total: torch.Tensor = network(torch.ones(len(batch), 3)).square().mean()
        return total

    module = child.begin(torch.nn.Linear(3, 1), spec, "")
    course = fit(module, spec, loss_of)
    report(0.99, f"{spec['batch']} a step, {spec['micro']} at a time")
    child.end(module, spec, course)


if __name__ == "__main__":
    child.run(main)
