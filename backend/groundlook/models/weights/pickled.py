"""torch's pickle files, read as data.

torch's `weights_only` unpickler calls nothing outside an allow-list, but whatever is on that list may be called with
arguments of the file's choosing: an nn.Module's constructor may well load another file. So the list here maps the
names that a checkpoint of a network needs to shells: empty classes that remember what they were given and do nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundlook.core.errors import InvalidWeights

if TYPE_CHECKING:
    import torch

_LOCK = threading.Lock()  # torch's allow-list is one for the whole process
_SHELLED = ("ultralytics.nn.", "ultralytics.utils.", "torch.nn.modules.", "models.yolo.", "models.common.")
_HARMLESS = frozenset(
    {
        "numpy.dtype",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
        "numpy.dtypes.Float64DType",
        "numpy.dtypes.Float32DType",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib._local.PosixPath",
        "pathlib._local.WindowsPath",
    }
)

Read = tuple[dict[str, "torch.Tensor"], tuple[str, ...] | None, str | None]


class Shell:
    """Stands in for a class of a checkpoint: keeps the state, runs nothing."""

    def __new__(cls, *_: object, **__: object) -> Shell:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        self.kept: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        self.kept = dict(state) if isinstance(state, Mapping) else {}


def read(path: Path) -> Read:
    """(state dict, class names or None, network's yaml name or None) of a torch file. Raises InvalidWeights."""
    content = _load(path)
    if isinstance(content, dict) and not _is_state(content):
        content = next((content[k] for k in ("ema", "model", "state_dict") if content.get(k) is not None), content)
    if isinstance(content, Shell):
        return _state(content, path), _names(content.kept.get("names")), _arch(content.kept.get("yaml"))
    if isinstance(content, dict) and _is_state(content):
        return dict(content), None, None
    raise InvalidWeights(f"weights {path} hold {type(content).__name__}, neither a state dict nor an ultralytics model")


def _load(path: Path) -> Any:
    import torch

    with _LOCK:
        try:
            names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except Exception as e:  # a crafted file can make the scan fail in any way
            raise InvalidWeights(f"weights {path} are no whole torch file ({_first(e)}): fetch them again") from e
        refused = sorted(name for name in names if not name.startswith(_SHELLED) and name not in _HARMLESS)
        if refused:
            raise InvalidWeights(
                f"weights {path} would run {', '.join(refused[:5])} when read, so they are refused: "
                "save a plain state dict or safetensors instead"
            )
        shells = [(type("Shell", (Shell,), {}), name) for name in sorted(names)]
        try:
            with torch.serialization.safe_globals(shells):
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as e:  # a crafted file can make the unpickler fail in any way
            raise InvalidWeights(f"weights {path} can't be read ({_first(e)}): fetch them again") from e


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _is_state(content: Mapping[Any, Any]) -> bool:
    import torch

    return bool(content) and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items())


def _state(shell: Shell, path: Path) -> dict[str, torch.Tensor]:
    """What `module.state_dict()` would give, gathered from the shells of its modules."""
    import torch

    state: dict[str, torch.Tensor] = {}
    waiting, seen = [("", shell)], {id(shell)}
    while waiting:
        prefix, module = waiting.pop()
        hidden = module.kept.get("_non_persistent_buffers_set")
        skip = hidden if isinstance(hidden, set) else set()
        for part in ("_parameters", "_buffers"):
            tensors = module.kept.get(part)
            for name, value in tensors.items() if isinstance(tensors, Mapping) else ():
                if isinstance(value, torch.Tensor) and name not in skip:
                    state[f"{prefix}{name}"] = value.detach()
        children = module.kept.get("_modules")
        for name, child in children.items() if isinstance(children, Mapping) else ():
            # A module inside itself would never end; one used twice (a tied layer) is kept under its first name.
            if isinstance(child, Shell) and id(child) not in seen:
                seen.add(id(child))
                waiting.append((f"{prefix}{name}.", child))
    if not state:
        raise InvalidWeights(f"weights {path} hold a model without tensors")
    return state


def _names(names: object) -> tuple[str, ...] | None:
    if isinstance(names, Mapping):
        numbered = all(isinstance(k, int) for k in names)
        return tuple(str(names[k]) for k in (sorted(names) if numbered else names))
    return tuple(str(n) for n in names) if isinstance(names, list | tuple) else None


def _arch(config: object) -> str | None:
    name = config.get("yaml_file") if isinstance(config, Mapping) else None
    return Path(name).name if isinstance(name, str) else None
