"""The process that prepares and tries: `python -m groundlook.models.runtime.child spec.json`, started by trials.py.

Building, exporting and running in float32 takes gigabytes and may crash; the process that serves does none of it.
"""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from groundlook.core.errors import GroundlookError
from groundlook.core.process import die_with_parent, report
from groundlook.models.runtime.export import export
from groundlook.models.runtime.inside_torch import runner
from groundlook.models.runtime.measure import put_reference, reference, trial
from groundlook.models.runtime.network import Network, taken
from groundlook.models.runtime.record import Trial
from groundlook.models.runtime.runtimes import load


def main(spec_path: Path) -> None:
    """Do what the spec says, and report it."""
    die_with_parent()
    with contextlib.suppress(OSError):  # where memory runs out, this process goes, not the one that serves
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    spec: dict[str, Any] = json.loads(spec_path.read_text(encoding="utf-8"))
    network, folder = Network.of(spec["network"]), Path(spec["folder"])
    if spec["runtimes"]:
        tried = [_try(name, network, folder, spec["device"], spec["threads"]) for name in spec["runtimes"]]
        result: dict[str, Any] = {"trials": [asdict(one) for one in tried]}
    else:
        result = _prepare(network, folder, spec["threads"])
    report(1.0, "done", result)


def _prepare(network: Network, folder: Path, threads: int | None) -> dict[str, Any]:
    """Reference answers, the export, and what eager PyTorch takes."""
    import torch

    if threads:
        torch.set_num_threads(threads)
    module, example = network.make()
    eager = runner("torch eager", module, None)
    inputs = [value.numpy() for value in example]
    alone, expected = trial("torch eager", eager, inputs, None)
    put_reference(folder, inputs, expected)
    result: dict[str, Any] = {"cuda": torch.cuda.is_available(), "note": ""}
    result["inputs"] = [asdict(one) for one in taken(network, example)]
    result["eager"] = asdict(alone)
    try:
        export(network, module, example, folder)
    except Exception as error:  # whatever a network or an exporter may raise: PyTorch itself remains
        result["note"] = f"no ONNX export: {_said(error)}"
    return result


def _try(runtime: str, network: Network, folder: Path, device: str | None, threads: int | None) -> Trial:
    kept = reference(folder)
    if kept is None:
        return Trial(runtime, note="the reference answers can't be read")
    try:
        return trial(runtime, load(runtime, network, folder, device, threads), *kept)[0]
    except Exception as error:  # a runtime that fails is out, whatever it raises
        return Trial(runtime, note=_said(error))


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except GroundlookError as error:  # a sentence, not a traceback, for the person who reads it
        sys.exit(str(error))
