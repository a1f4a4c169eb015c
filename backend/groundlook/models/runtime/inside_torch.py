"""Networks in PyTorch itself: as they are, with channels last, in bfloat16, on a GPU."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.models.runtime.network import Network, Runner, Taken, taken

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class TorchRunner:
    """`autocast`: compute in bfloat16 where PyTorch deems it safe."""

    module: torch.nn.Module
    device: str
    channels_last: bool
    autocast: bool
    lock: threading.Lock

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
        import torch

        tensors = [self._tensor(value) for value in inputs]
        kind = self.device.partition(":")[0]
        half = torch.autocast(kind, torch.bfloat16) if self.autocast else contextlib.nullcontext()
        # One at a time: two calls at once take twice the memory and no less time.
        with self.lock, torch.inference_mode(), half:
            return [value.float().cpu().numpy() for value in as_tuple(self.module(*tensors))]

    def _tensor(self, value: NDArray[Any]) -> torch.Tensor:
        import torch

        tensor = torch.tensor(value, device=self.device)
        last = self.channels_last and tensor.ndim == 4
        return tensor.contiguous(memory_format=torch.channels_last) if last else tensor


def as_tuple(value: Any) -> tuple[torch.Tensor, ...]:
    """What a module returned, as a tuple."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def need_torch() -> None:
    """Raises InvalidInput, with the remedy, where PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        extras = "pip install 'groundlook[sam]' (or yolo, segmentation)"
        raise InvalidInput(f"PyTorch is not installed, and the network must be built once with it: {extras}")


def runner(runtime: str, module: torch.nn.Module, device: str | None) -> Runner:
    """`module`, which is changed for it, in the torch runtime named `runtime`."""
    import torch

    place = (device or "cuda") if "cuda" in runtime else "cpu"
    last = "channels-last" in runtime
    module = module.eval().to(place)
    if last:
        module = module.to(memory_format=torch.channels_last)
    return TorchRunner(module, place, last, "bf16" in runtime, threading.Lock())


def load(runtime: str, network: Network, device: str | None) -> tuple[Runner, tuple[Taken, ...]]:
    """Build `network` in this process; its runner and its inputs."""
    need_torch()
    module, example = network.make()
    return runner(runtime, module, device), taken(network, example)
