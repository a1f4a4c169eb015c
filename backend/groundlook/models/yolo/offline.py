"""ultralytics without its habits: it neither phones home, installs, downloads, nor takes our threads.

What reaches out and what stops it is listed in facts/stack.md. Nothing here runs at import.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from groundlook.core.errors import InvalidInput

_LOCK = threading.Lock()
_INTEGRATIONS = ("clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb")
_TAKEN = ("OMP_NUM_THREADS", "NUMEXPR_MAX_THREADS", "TF_CPP_MIN_LOG_LEVEL", "TORCH_CPP_LOG_LEVEL", "KINETO_LOG_LEVEL")
_REMEDY = "install the extra: pip install 'groundlook[yolo]'"


def environment(config_dir: Path) -> dict[str, str]:
    """The variables that keep ultralytics offline, for this process or a child."""
    return {
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(config_dir),
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }


def default_config_dir() -> Path:
    """A folder of ours in the user's cache, where ultralytics keeps its settings and font."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("groundlook")) / "ultralytics"


def ultralytics(config_dir: Path | None = None, threads: int | None = None) -> Any:
    """The ultralytics package, imported offline, with OpenCV's and OpenMP's threads left as they were.

    `config_dir`: where it may write, by default `default_config_dir()`; only the first call of a process decides.
    `threads`: how many it may set torch to while it trains; by default as many as torch has now.
    Raises InvalidInput, with the remedy, where the `yolo` extra is not installed.
    """
    with _LOCK:
        torch = _import("torch")
        _import("torchvision")  # loaded, it makes non_max_suppression the compiled one
        folder = config_dir or default_config_dir()
        _put_font(folder / "Ultralytics" / "Arial.ttf")
        # These stay: ultralytics reads them again whenever it thinks of the network.
        os.environ.update(environment(folder))
        with _kept():
            package = _import("ultralytics")
            utils = _import("ultralytics.utils")
            torch_utils = _import("ultralytics.utils.torch_utils")
        # select_device() would set torch to cores - 1 threads for the whole process.
        utils.NUM_THREADS = torch_utils.NUM_THREADS = threads or torch.get_num_threads()
        utils.ONLINE = False
        _quiet(utils.SETTINGS)
        return package


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InvalidInput(f"{name} can't be imported ({error}); {_REMEDY}") from error


def _put_font(place: Path) -> None:
    """Training asks for Arial.ttf and would download it; DejaVu Sans from matplotlib draws as well."""
    if place.exists():
        return
    import matplotlib

    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_name(f".{os.getpid()}-{place.name}")
    shutil.copyfile(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", partial)
    partial.replace(place)


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    """Importing ultralytics changes the environment, OpenCV's threads and how NumPy prints: put them back."""
    import cv2
    import numpy as np

    before = {name: os.environ.get(name) for name in _TAKEN}
    threads, printing = cv2.getNumThreads(), np.get_printoptions()
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        np.set_printoptions(**printing)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _quiet(settings: Any) -> None:
    wanted = {name: False for name in (*_INTEGRATIONS, "sync", "vscode_msg", "openvino_msg") if name in settings}
    if any(settings[name] for name in wanted):
        settings.update(wanted)
