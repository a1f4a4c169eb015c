"""What every store of features must do, run against each: in memory and in files."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from groundlook.core.errors import InvalidInput
from groundlook.core.ports import Features
from groundlook_adapters.store.features import FeatureFiles, FeatureMemory


@pytest.fixture(params=["memory", "files"])
def features(request: pytest.FixtureRequest, tmp_path: Path) -> Features:
    return FeatureMemory() if request.param == "memory" else FeatureFiles(tmp_path / "features")


def rows(ids: NDArray[np.int64] | list[int], width: int = 8, salt: int = 0) -> NDArray[np.float32]:
    return np.stack([np.random.default_rng([int(i), salt]).normal(size=width) for i in ids]).astype(np.float32)


def kept(features: Features, project: int, name: str) -> dict[int, bytes]:
    ids, vectors = features.get(project, name)
    assert len(ids) == len(vectors) == len(set(ids.tolist()))
    return {int(i): np.asarray(v).tobytes() for i, v in zip(ids, vectors, strict=True)}


def test_what_was_put_comes_back_to_the_last_bit(features: Features) -> None:
    first, second = np.arange(1, 301), np.arange(301, 400)
    features.put(1, "thumb", first, rows(first))
    features.put(1, "thumb", second, rows(second))
    assert kept(features, 1, "thumb") == {i: rows([i])[0].tobytes() for i in range(1, 400)}
    for project, name in ((1, "other"), (2, "thumb")):
        ids, vectors = features.get(project, name)
        assert (ids.shape, ids.dtype, vectors.shape) == ((0,), np.int64, (0, 0))


def test_the_last_row_of_an_id_counts(features: Features) -> None:
    features.put(1, "thumb", np.array([5, 3, 9]), rows([5, 3, 9]))
    features.put(1, "thumb", np.array([3, 7, 3]), np.stack([rows([3], salt=s)[0] for s in (1, 2, 3)]))
    features.put(1, "thumb", np.array([5]), rows([5]))
    expected = {5: rows([5])[0], 3: rows([3], salt=3)[0], 9: rows([9])[0], 7: rows([3], salt=2)[0]}
    for _ in range(2):
        assert kept(features, 1, "thumb") == {i: v.tobytes() for i, v in expected.items()}


@given(st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=8))
def test_both_stores_keep_the_same_whatever_comes(puts: list[list[int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        stores: list[Features] = [FeatureMemory(), FeatureFiles(Path(folder))]
        for salt, ids in enumerate(puts):
            for store in stores:
                store.put(1, "x", np.array(ids, np.int64), rows(ids, 3, salt) if ids else np.zeros((0, 3), np.float32))
            if salt % 3 == 0:
                stores[1].get(1, "x")
        assert kept(stores[0], 1, "x") == kept(stores[1], 1, "x")


def test_the_dtype_that_came_first_stays(features: Features) -> None:
    features.put(1, "half", np.array([1]), rows([1]).astype(np.float16))
    features.put(1, "half", np.array([2]), rows([2]))
    assert features.get(1, "half")[1].dtype == np.float16
    features.put(1, "double", np.array([1]), rows([1]).astype(np.float64))
    assert features.get(1, "double")[1].dtype == np.float32


def test_nan_stays_nan(features: Features) -> None:
    features.put(1, "counts", np.array([4]), np.array([[np.nan, 0.5]], np.float32))
    (ids, found) = features.get(1, "counts")
    assert ids.tolist() == [4]
    assert np.isnan(found[0, 0])
    assert found[0, 1] == 0.5


def test_rows_of_another_length_are_refused_and_change_nothing(features: Features) -> None:
    features.put(1, "thumb", np.array([1]), rows([1]))
    with pytest.raises(InvalidInput, match="thumb gave 9 numbers a task, 8 are kept"):
        features.put(1, "thumb", np.array([2]), rows([2], 9))
    with pytest.raises(InvalidInput, match="one row of numbers for each id"):
        features.put(1, "thumb", np.array([2, 3]), rows([2]))
    with pytest.raises(InvalidInput, match="task -1"):
        features.put(1, "thumb", np.array([-1]), rows([1]))
    assert list(kept(features, 1, "thumb")) == [1]


def test_a_map_that_is_held_does_not_change(features: Features) -> None:
    features.put(1, "thumb", np.array([1, 2]), rows([1, 2]))
    ids, vectors = features.get(1, "thumb")
    features.put(1, "thumb", np.array([1, 3]), rows([8, 9]))
    assert len(kept(features, 1, "thumb")) == 3  # copied to new files
    assert ids.tolist() == [1, 2]
    assert np.array_equal(vectors, rows([1, 2]))


def test_another_process_sees_it_at_once(tmp_path: Path) -> None:
    one, two = FeatureFiles(tmp_path), FeatureFiles(tmp_path)
    for i in range(3):
        one.put(1, "thumb", np.array([i]), rows([i]))
        assert list(kept(two, 1, "thumb")) == list(range(i + 1))


def _writer(folder: Path, start: int) -> None:
    store = FeatureFiles(folder)
    for i in range(start, start + 200, 8):
        ids = np.arange(i, i + 8)
        store.put(1, "thumb", ids, rows(ids))


def test_writers_in_four_processes_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    people = [spawn.Process(target=_writer, args=(tmp_path, 200 * k)) for k in range(4)]
    for person in people:
        person.start()
    while any(p.is_alive() for p in people):
        FeatureFiles(tmp_path).get(1, "thumb")  # copies, while they write
    for person in people:
        person.join()
        assert person.exitcode == 0
    assert kept(FeatureFiles(tmp_path), 1, "thumb") == {i: rows([i])[0].tobytes() for i in range(800)}


@pytest.mark.fault("worker killed", "features are written")
def test_a_writer_that_is_killed_leaves_whole_puts_only(tmp_path: Path) -> None:
    """Every put is 64 rows that all say the same number; at whatever moment it is killed, all 64 of it are there, or
    none."""
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from groundlook_adapters.store.features import FeatureFiles\n"
        "store = FeatureFiles(Path(sys.argv[1])); print('go', flush=True)\n"
        "put = int(sys.argv[2])\n"
        "while True:\n"
        "    put += 1\n"
        "    ids = np.arange(64) + 64 * (put % 50)\n"
        "    store.put(1, 'thumb', ids, np.full((64, 256), put, np.float32))\n"
        "    if put % 7 == 0: store.get(1, 'thumb')\n"
    )
    random = np.random.default_rng(0)
    for turn in range(6):
        command = [sys.executable, "-c", code, str(tmp_path), str(turn * 100_000)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(float(random.uniform(0.05, 0.4)))
            os.kill(child.pid, signal.SIGKILL)
        ids, vectors = FeatureFiles(tmp_path).get(1, "thumb")
        said = np.asarray(vectors)
        assert len(ids) % 64 == 0
        assert len(ids)
        order = np.argsort(ids)
        assert (said[order].reshape(-1, 64 * 256) == said[order][::64, :1]).all()


def test_a_million_rows_are_opened_without_reading_them(tmp_path: Path) -> None:
    """1,000,000 × 512 float16 (sparse on this disk): opened and 1,000 of them read without the gigabyte in memory."""
    store, step = FeatureFiles(tmp_path), 250_000
    store.put(1, "wide", np.arange(8), np.ones((8, 512), np.float16))
    (folder,) = (tmp_path / "1").iterdir()
    np.arange(4 * step).tofile(folder / "0.ids")
    os.truncate(folder / "0.vectors", 4 * step * 1024)
    head = (folder / "head.json").read_text()
    (folder / "head.json").write_text(
        head.replace('"rows": 8', f'"rows": {4 * step}').replace('"most": 7', '"most": 1')
    )
    process = psutil.Process()
    before, started = process.memory_info().rss, time.perf_counter()
    ids, vectors = store.get(1, "wide")
    opened = time.perf_counter() - started
    assert vectors.shape == (4 * step, 512)
    assert vectors[np.random.default_rng(0).integers(0, 4 * step, 1000)].sum() >= 0
    assert len(ids) == 4 * step
    assert opened < 1.0
    assert process.memory_info().rss - before < 150e6


def test_what_was_cut_short_says_what_to_delete(tmp_path: Path) -> None:
    store = FeatureFiles(tmp_path)
    store.put(1, "thumb", np.array([1, 2]), rows([1, 2]))
    (folder,) = (tmp_path / "1").iterdir()
    os.truncate(folder / "0.vectors", 40)
    with pytest.raises(InvalidInput, match="was cut short: delete the folder"):
        store.get(1, "thumb")
    (folder / "head.json").write_text("{}")
    with pytest.raises(InvalidInput, match="is damaged"):
        store.get(1, "thumb")
