"""People go on while a model learns: what they change and delete meanwhile is in the next snapshot, not in this one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from groundlook.core.types import Annotation, Snapshot
from groundlook.learning.gate import USUAL
from groundlook.learning.snapshot import load_snapshot
from groundlook.loop.learn import Learned, learn_now
from groundlook.loop.snapshot import snapshots_of
from groundlook.loop.sync import sync
from groundlook.loop.trigger import EDITED, due
from tests.faults.round_worker import SETTINGS, Site
from tests.faults.test_killed_rounds import prepared
from tests.loop.house import quiet
from tests.loop.learner import truth

CHANGED, DELETED, NEW = 7, 8, 66


def snapshot(site: Site, done: Learned) -> Snapshot:
    assert done.card is not None
    return load_snapshot(snapshots_of(site.loop.home, 7) / f"{done.card.snapshot}.json")


@pytest.mark.fault("annotations changed, deleted and added", "training")
def test_what_people_change_during_a_training_is_learned_by_the_next(tmp_path: Path) -> None:
    site = prepared(tmp_path)
    site.loop = replace(site.loop, settings=replace(SETTINGS, retrain_every=3))
    sync(site.loop, 7, quiet)
    said: list[str] = []

    def progress(share: float, text: str) -> None:
        if not said and text.startswith("example"):
            said.append(text)
            changed = Annotation(CHANGED, CHANGED, tuple(truth(CHANGED)[:1]), "ann", 2000.0, 0.5)
            site.studio.say(changed)
            site.store.next_number(7, EDITED)  # as the webhook does
            site.studio.withdraw(DELETED)
            for task in range(NEW, NEW + 3):
                site.studio.say(Annotation(task, task, tuple(truth(task)), "ann", 2001.0, 0.5))

    first = learn_now(site.loop, 7, progress, USUAL)
    assert said, "it happened while it trained"
    before = {e.task.id: e for e in snapshot(site, first).examples}
    assert before.keys() == set(range(1, 61))
    assert len(before[CHANGED].regions) == 3

    sync(site.loop, 7, quiet)
    served = {a.id for a in site.store.served(7)}
    assert served == {*range(1, 61), NEW, NEW + 1, NEW + 2} - {DELETED}
    assert due(site.loop, site.store.project(7), len(served)), "the edit counts, and so does what is new"
    assert any(job.kind == "learn" and job.state == "queued" for job in site.jobs.jobs(7))
    second = learn_now(site.loop, 7, quiet, USUAL)
    after = {e.task.id: e for e in snapshot(site, second).examples}
    assert after.keys() == served
    assert len(after[CHANGED].regions) == 1
    assert len({e.annotation_ids for e in after.values()}) == len(served)
    assert snapshot(site, first).id != snapshot(site, second).id
    again = learn_now(site.loop, 7, quiet, USUAL)
    assert again.outcome == "nothing new"
    assert not due(site.loop, site.store.project(7), len(served))
    site.close()
