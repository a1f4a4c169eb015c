"""Groundlook from Python, as the command line has it; settings come from the environment, as there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundlook.core.ports import Progress
    from groundlook.loop.learn import Learned


def retrain(
    project: int,
    *,
    url: str | None = None,
    token: str | None = None,
    gate: str = "usual",
    report: Path | None = None,
    publish: bool = True,
    first: bool = False,
    weights: str | None = None,
    sha256: str | None = None,
    arch: str | None = None,
    home: Path | None = None,
    progress: Progress = lambda share, text: None,
) -> Learned:
    """One round of learning: what people labelled in a Label Studio project, a training, the gate, and where that says
    so the promotion, new predictions and a new queue.

    `url`, `token`: of Label Studio, where the project is not connected in `home` (else GROUNDLOOK_HOME). `gate`:
    "usual", or "strict": it has to be proved that nothing got worse. `report`: a folder for report.json and
    report.html. `publish`: let what serves then look at the open tasks, and make the queue anew. `first`: begin anew
    where the version that Label Studio serves is not in `home`. `weights`: what the first training starts from, a path
    or a URL with its `sha256`; `arch`: the network of weights that don't say it. `progress(share, text)`: share 0…1;
    what it raises ends the round, and the next goes on from there.

    Returns `Learned`, whose `outcome` is "promoted", "refused", "needs a person" or "nothing new". Raises
    `GroundlookError`: InvalidInput, NotFound, LabelStudioError, TrainingFailed, Busy where a training runs already.
    """
    from groundlook.service.settings import PREFIX, read_settings
    from groundlook.service.wiring.retrain import Asked
    from groundlook.service.wiring.retrain import retrain as run

    settings = read_settings({**os.environ, **({f"{PREFIX}HOME": str(home)} if home else {})})
    return run(settings, Asked(project, gate, report, publish, first, url, token, weights, sha256, arch), progress)
