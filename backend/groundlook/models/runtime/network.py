"""What a runtime is given, and what it gives."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

Arrays = tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class Network:
    """How to build a torch module anywhere, also in a child process.

    `build`: "package.module:function"; the function takes `arguments` (JSON values) as keywords and returns (module in
    eval mode, float32, on the CPU; tuple of example input tensors). `key`: sha256 of weights and architecture, which
    names what is kept. `inputs`, `outputs`: names in order. `dynamic`: name of an input or output → its axes that vary.
    """

    build: str
    arguments: Mapping[str, Any]
    key: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """As JSON values."""
        names = {"inputs": list(self.inputs), "outputs": list(self.outputs)}
        axes = {name: list(axes) for name, axes in self.dynamic.items()}
        return {"build": self.build, "arguments": dict(self.arguments), "key": self.key, **names, "dynamic": axes}

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Network:
        """The inverse of `body`."""
        axes = {name: tuple(axes) for name, axes in body["dynamic"].items()}
        names = tuple(body["inputs"]), tuple(body["outputs"])
        return cls(body["build"], body["arguments"], body["key"], *names, axes)

    def make(self) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
        """The module and its example inputs. Raises what `build` raises."""
        module, _, name = self.build.partition(":")
        built, example = getattr(importlib.import_module(module), name)(**self.arguments)
        return built, tuple(example)


class Compiled(Protocol):
    """A network in a runtime. `runtime`: its name, as in `select.RUNTIMES`. `error`: relative L2 error against float32
    eager PyTorch on the example inputs, the largest of the outputs."""

    @property
    def runtime(self) -> str: ...

    @property
    def error(self) -> float: ...

    def __call__(self, *inputs: NDArray[Any]) -> Arrays:
        """The outputs, in order of `Network.outputs`, the caller's own. Thread-safe.
        Raises InvalidInput for another number of inputs, or shapes that the network does not take."""

    def each(self, items: Sequence[Sequence[NDArray[Any]]], use: Callable[[Arrays], T]) -> list[T]:
        """What `use` makes of the outputs for each of `items`, in order: several at a time where that is faster.
        `use` may run in any thread, and its arrays are its own only while it runs. Thread-safe. Raises as a call
        does, and what `use` raises."""


class Runner(Protocol):
    """What a runtime's file makes of a network: arrays of the example's dtypes in, arrays out. Thread-safe. One that
    has a faster way for many has an `each`, too, as `Compiled.each`."""

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]: ...


@dataclass(frozen=True, slots=True)
class Taken:
    """An input as the network takes it. `shape`: −1 on an axis that varies."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def of(self, value: NDArray[Any]) -> NDArray[Any]:
        """`value` in the network's dtype. Raises InvalidInput for another shape."""
        found = np.shape(value)
        if len(found) != len(self.shape) or any(w not in (-1, n) for n, w in zip(found, self.shape, strict=True)):
            raise InvalidInput(f"input {self.name!r} has shape {found}; the network takes {self.shape}, -1: any")
        # Contiguous, but not by ascontiguousarray, which makes a scalar an array.
        return np.asarray(value, dtype=self.dtype, order="C")


def taken(network: Network, example: Sequence[torch.Tensor]) -> tuple[Taken, ...]:
    """The inputs of `network`, from its example."""
    found = []
    for name, value in zip(network.inputs, example, strict=True):
        axes = network.dynamic.get(name, ())
        shape = tuple(-1 if axis in axes else int(size) for axis, size in enumerate(value.shape))
        found.append(Taken(name, str(value.dtype).removeprefix("torch."), shape))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A `Compiled`."""

    runtime: str
    error: float
    runner: Runner
    inputs: tuple[Taken, ...]

    def __call__(self, *inputs: NDArray[Any]) -> Arrays:
        return _floats(self.runner(self._given(inputs)))

    def each(self, items: Sequence[Sequence[NDArray[Any]]], use: Callable[[Arrays], T]) -> list[T]:
        """See `Compiled.each`."""
        given = [self._given(inputs) for inputs in items]
        several = getattr(self.runner, "each", None)
        if several is None:
            return [use(_floats(self.runner(inputs))) for inputs in given]
        found: list[T] = several(given, lambda said: use(_floats(said)))
        return found

    def _given(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        if len(inputs) != len(self.inputs):
            raise InvalidInput(f"the network takes {len(self.inputs)} inputs, not {len(inputs)}")
        return [want.of(value) for want, value in zip(self.inputs, inputs, strict=True)]


def _floats(said: Sequence[NDArray[Any]]) -> Arrays:
    return tuple(np.asarray(value, np.float32) for value in said)
