"""The process that fills a network to see what it is: `python -m groundlook.models.yolo.known_child spec.json`.

PyTorch and ultralytics, once imported, hold as much memory as a whole scene needs: who serves a compiled network has
no other use for them.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from groundlook.core.errors import GroundlookError
from groundlook.core.process import die_with_parent, report
from groundlook.core.types import ModelCard, ModelVersion


def main(spec_path: Path) -> None:
    """Look at what the spec names, and report it or what is wrong with it."""
    die_with_parent()
    from groundlook.models.yolo.built import filled

    spec = json.loads(spec_path.read_text(encoding="utf-8"))
    asked = spec["card"]
    card = ModelCard(ModelVersion("yolo", ""), "yolo", asked["arch"], tuple(asked["labels"]), asked["sha256"])
    try:
        _, known = filled(card, Path(spec["weights"]), Path(spec["config"]) if spec["config"] else None)
    except GroundlookError as error:
        report(1.0, "refused", {"error": type(error).__name__, "said": str(error)})
    else:
        report(1.0, "known", asdict(known))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
