"""One training on several GPUs: a process for each, which average what they learn (PyTorch's DDP).

The first process is the one that the parent started; it starts the others with the same spec. The variables are
torchrun's, which ultralytics reads, too.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_LOOPBACK = "127.0.0.1"


def rank() -> int:
    """Which of the processes this is, 0 for the first or the only one."""
    return int(os.environ.get("RANK", "0"))


def processes(spec: Mapping[str, Any]) -> int:
    """How many there are to be: what the spec says, or one for each GPU where it leaves the choice."""
    import torch

    if spec.get("processes"):
        return int(spec["processes"])
    return max(1, torch.cuda.device_count()) if spec["device"] in ("", "cuda") else 1


def spread(module: torch.nn.Module, spec: Mapping[str, Any]) -> Any:
    """The network to compute gradients with: itself where it is alone, else one whose gradients are averaged."""
    import torch
    from torch import distributed

    if spec["world"] == 1:
        return module
    on_gpu = str(spec["device"]).startswith("cuda")
    distributed.init_process_group("nccl" if on_gpu else "gloo", rank=rank(), world_size=spec["world"])
    # A detector's mask head learns nothing from a picture without things.
    return torch.nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)


@contextlib.contextmanager
def started(spec: Mapping[str, Any], path: str) -> Iterator[int]:
    """In the first process: start the others with the spec at `path`, and end them with the block. Where one of them
    fails, all end: the rest would wait for it for ever. Gives their number, itself included."""
    count = processes(spec)
    if count == 1 or rank():
        yield count
        return
    with socket.socket() as free:
        free.bind((_LOOPBACK, 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": _LOOPBACK, "MASTER_PORT": str(port)}
    os.environ.update({**shared, "RANK": "0", "LOCAL_RANK": "0"})
    others = [_start(spec["module"], path, i) for i in range(1, count)]
    over = threading.Event()
    for other in others:
        threading.Thread(target=_watch, args=(other, over), daemon=True).start()
    try:
        yield count
    finally:
        over.set()
        for other in others:
            other.kill()
            other.wait()


def _start(module: str, path: str, number: int) -> subprocess.Popen[bytes]:
    own = {"RANK": str(number), "LOCAL_RANK": str(number), "GROUNDLOOK_PARENT": str(os.getpid())}
    # Only the first one's reports count; what goes wrong in any of them is shown.
    return subprocess.Popen(
        [sys.executable, "-m", module, path],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, **own},
    )


def _watch(other: subprocess.Popen[bytes], over: threading.Event) -> None:
    if other.wait() != 0 and not over.is_set():
        sys.stderr.write(f"a process of the training ended with exit code {other.returncode}\n")
        sys.stderr.flush()
        os._exit(4)
