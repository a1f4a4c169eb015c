"""Networks through runtimes: the same answers, the fastest found once, nothing wrong served."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from groundlook.core.errors import InvalidInput, InvalidWeights
from groundlook.models.runtime import Compiled, Network, compiled, describe
from groundlook.models.runtime.record import Trial
from groundlook.models.runtime.runtimes import RUNTIMES
from groundlook.models.runtime.select import EXACT
from tests.models import runtime_networks

ROOT = Path(__file__).resolve().parents[2]
EVERYWHERE = [name for name in RUNTIMES if "cuda" not in name]
EXACTLY = [name for name in EVERYWHERE if "bf16" not in name]


def network(build: str, inputs: tuple[str, ...] = ("x",), outputs: tuple[str, ...] = ("y",), **more: Any) -> Network:
    arguments = more.pop("arguments", {})
    key = hashlib.sha256(f"{build}{sorted(arguments.items())}".encode()).hexdigest()
    return Network(f"tests.models.runtime_networks:{build}", arguments, key, inputs, outputs, **more)


PICTURE = network("picture")
PROMPTED = network(
    "prompted", ("features", "points"), ("masks", "rates"), dynamic={"points": (1,), "masks": (1,), "rates": (1,)}
)


def forced(wanted: Network, home: Path, name: str) -> Compiled:
    """`wanted` in the runtime `name`; skips where this CPU lacks the arithmetic."""
    try:
        return compiled(wanted, home, runtime=name)
    except InvalidInput as error:
        if "does not compute in bfloat16" in str(error):
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the networks of this file are kept: each is exported once."""
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture(scope="module")
def chosen(home: Path) -> Compiled:
    return compiled(PICTURE, home)


def test_the_fastest_that_computes_the_same_is_recorded(chosen: Compiled, home: Path) -> None:
    assert chosen.runtime in RUNTIMES
    assert chosen.error <= 0.03
    module, (example,) = runtime_networks.picture()
    (found,) = chosen(example.numpy())
    expected = module(example).detach().numpy()
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) <= 0.03 * np.linalg.norm(expected)
    (line,) = [line for line in describe(home) if "picture" in line]
    assert line.startswith(f"runtime_networks:picture {PICTURE.key[:8]}: {chosen.runtime} ")
    assert "torch eager" in line
    assert "torch cuda" in line


def test_a_second_start_repeats_nothing(chosen: Compiled, home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"}
    started = time.perf_counter()
    again = compiled(PICTURE, home)
    assert time.perf_counter() - started < 5
    assert again.runtime == chosen.runtime
    assert again.error == chosen.error
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_runtime_computes_the_same(chosen: Compiled, home: Path, name: str) -> None:
    assert chosen
    found = forced(PICTURE, home, name)
    assert found.runtime == name
    module, (example,) = runtime_networks.picture()
    other = torch.randn(example.shape)
    expected = module(other).detach().numpy()
    error = np.linalg.norm(found(other.numpy())[0] - expected) / np.linalg.norm(expected)
    assert error < (0.03 if "bf16" in name else 1e-5)


@pytest.mark.parametrize("points", [1, 3, 7])
@pytest.mark.parametrize("name", ["openvino f32", "onnxruntime f32", "torch eager"])
def test_inputs_of_any_length(home: Path, name: str, points: int) -> None:
    found = compiled(PROMPTED, home, exact=True, runtime=name)
    module, (features, _) = runtime_networks.prompted()
    where = torch.randn(1, points, 2)
    masks, rates = found(features.numpy(), where.numpy())
    assert masks.shape == (1, points, 16, 16)
    assert rates.shape == (1, points)
    for got, want in zip((masks, rates), module(features, where), strict=True):
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-4, atol=1e-4)


def test_float64_is_taken_and_other_shapes_are_refused(chosen: Compiled) -> None:
    _, (example,) = runtime_networks.picture()
    first = chosen(example.numpy())
    np.testing.assert_array_equal(first, chosen(example.numpy().astype(np.float64)))
    with pytest.raises(InvalidInput, match=r"'x' has shape \(1, 3, 64, 47\); the network takes \(1, 3, 64, 48\)"):
        chosen(np.zeros((1, 3, 64, 47)))
    with pytest.raises(InvalidInput, match="takes 1 inputs, not 2"):
        chosen(example.numpy(), example.numpy())


@pytest.mark.parametrize("name", ["openvino f32", "openvino bf16", "onnxruntime f32", "torch channels-last"])
def test_eight_threads_get_what_one_gets(chosen: Compiled, home: Path, name: str) -> None:
    assert chosen
    found = forced(PICTURE, home, name)
    inputs = [np.random.default_rng(i).standard_normal((1, 3, 64, 48)).astype(np.float32) for i in range(8)]
    alone = [found(value)[0] for value in inputs]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: found(inputs[i % 8])[0], range(200)))
    for i, got in enumerate(together):
        np.testing.assert_array_equal(got, alone[i % 8])


@pytest.mark.parametrize("name", EVERYWHERE)
def test_many_at_a_time_are_as_each_alone_in_order(chosen: Compiled, home: Path, name: str) -> None:
    assert chosen
    found = forced(PICTURE, home, name)
    inputs = [np.random.default_rng(i).standard_normal((1, 3, 64, 48)).astype(np.float32) for i in range(9)]
    alone = [found(value)[0] for value in inputs]
    several = [[(value,) for value in inputs[:count]] for count in (0, 1, 2, 9)]
    with ThreadPoolExecutor(4) as pool:  # also when asked from several threads at once
        for items, got in zip(several * 4, pool.map(lambda i: found.each(i, _first_copied), several * 4), strict=True):
            assert len(got) == len(items)
            for mine, theirs in zip(got, alone, strict=False):
                np.testing.assert_allclose(mine, theirs, atol=1e-5 if "bf16" not in name else 0.05)


def _first_copied(said: tuple[np.ndarray, ...]) -> np.ndarray:
    return said[0].copy()


@pytest.mark.parametrize("name", ["openvino f32", "onnxruntime f32"])
def test_many_of_different_shapes_and_what_goes_wrong_while_they_are_used(home: Path, name: str) -> None:
    found = forced(PROMPTED, home, name)
    _, (features, _) = runtime_networks.prompted()
    points = [np.random.default_rng(n).random((1, n, 2)).astype(np.float32) for n in (1, 2, 3, 4, 5, 6, 1, 1)]
    items = [(features.numpy(), given) for given in points]
    for given in (items, *([items[i]] * 2 for i in range(6))):  # (more shapes than there are programs for)
        for got, (a, b) in zip(found.each(given, _first_copied), given, strict=True):
            np.testing.assert_allclose(got, found(a, b)[0], atol=1e-4)

    def broken(_: object) -> None:
        raise InvalidWeights("NaN")

    for _ in range(5):  # nothing is used up by failing
        with pytest.raises(InvalidWeights, match="NaN"):
            found.each(items, broken)
    assert len(found.each(items, _first_copied)) == 8


def test_a_runtime_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    wanted = network("cancelling")
    with pytest.raises(InvalidInput, match=r"openvino bf16 out \(relative error .* is over 0.03\)"):
        forced(wanted, tmp_path, "openvino bf16")
    assert describe(tmp_path) == []
    assert compiled(wanted, tmp_path, runtime="openvino f32").error < 0.03


def test_exact_is_float32(home: Path) -> None:
    found = compiled(PROMPTED, home, exact=True)
    assert found.runtime in EXACTLY
    assert found.error <= EXACT
    with pytest.raises(InvalidInput, match="is not float32"):
        compiled(PROMPTED, home, exact=True, runtime="openvino bf16")


def test_what_is_asked_for_and_is_not_there(home: Path) -> None:
    with pytest.raises(InvalidInput, match="there is no runtime 'abacus'; there are: openvino bf16"):
        compiled(PICTURE, home, runtime="abacus")
    with pytest.raises(InvalidInput, match="device 'tpu' is none of 'cpu', 'cuda'"):
        compiled(PICTURE, home, device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(InvalidInput, match="there is no CUDA device"):
            compiled(PICTURE, home, device="cuda")


def test_two_processes_at_once_export_once(tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    home = tmp_path / "home"
    script = (
        "import sys; from pathlib import Path\n"
        "from groundlook.models.runtime import Network, compiled\n"
        "wanted = Network.of(__import__('json').loads(sys.argv[1]))\n"
        "print(compiled(wanted, Path(sys.argv[2]), runtime='onnxruntime f32').runtime)\n"
    )
    wanted = network("picture", arguments={"built": str(built)})
    command = [sys.executable, "-W", "error", "-c", script, json.dumps(wanted.body()), str(home)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    said = [one.communicate(timeout=300)[0].strip() for one in both]
    assert said == ["onnxruntime f32"] * 2
    assert len(list(built.iterdir())) == 1


def test_a_broken_export_is_made_anew(tmp_path: Path) -> None:
    wanted = network("picture", arguments={"seed": 5})
    before = compiled(wanted, tmp_path, runtime="onnxruntime f32")
    (model,) = tmp_path.rglob("model.onnx")
    whole = model.read_bytes()
    module, (example,) = runtime_networks.picture(5)
    # Another weight, and a whole file all the same: nothing but its hash tells.
    weight = module[0].weight.detach().numpy().tobytes()[:64]
    assert weight in whole
    model.write_bytes(whole.replace(weight, weight[::-1]))
    after = compiled(wanted, tmp_path, runtime="onnxruntime f32")
    np.testing.assert_array_equal(before(example.numpy()), after(example.numpy()))
    assert weight in model.read_bytes()


@pytest.mark.slow
def test_a_choice_of_other_versions_is_made_anew(chosen: Compiled, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from groundlook.models.runtime import machine

    real = machine._version
    monkeypatch.setattr(machine, "_version", lambda name: "1999.1" if name == "openvino" else real(name))
    folder = next(home.glob(f"{PICTURE.key[:16]}-*"))
    before = set(folder.glob("choice-*.json"))
    model = (folder / "onnx" / "model.onnx").stat().st_mtime_ns
    assert compiled(PICTURE, home, device="cpu").runtime in EVERYWHERE
    (new,) = set(folder.glob("choice-*.json")) - before
    assert json.loads(new.read_text())["made_with"]["openvino"] == "1999.1"
    assert (folder / "onnx" / "model.onnx").stat().st_mtime_ns == model


@pytest.mark.slow
def test_what_has_no_export_runs_in_pytorch(tmp_path: Path) -> None:
    found = compiled(network("not_exportable"), tmp_path)
    assert found.runtime.startswith("torch")
    (line,) = describe(tmp_path)
    assert "openvino f32 out (no ONNX export" in line
    with pytest.raises(InvalidInput, match="no ONNX export"):
        compiled(network("not_exportable"), tmp_path, runtime="openvino f32")


def test_a_child_that_dies_leaves_pytorch(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    marker.write_text(str(os.getpid()))
    found = compiled(network("dying", arguments={"marker": str(marker)}), tmp_path / "home")
    assert found.runtime == "torch eager"
    assert describe(tmp_path / "home") == []  # the next start tries again


def test_a_trial_that_takes_too_long_is_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from groundlook.models.runtime import trials

    monkeypatch.setattr(trials, "_SECONDS", 0.05)
    (one,) = trials.run(PICTURE, tmp_path, ["torch channels-last"], Trial("torch eager"), None, None)
    assert "took over 0.05 s, and was ended" in str(one)


def test_weights_that_are_refused_say_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidWeights, match="give others"):
        compiled(network("refused"), tmp_path)


def test_serving_imports_no_torch_and_no_telemetry(chosen: Compiled, home: Path) -> None:
    """Memory, and nobody is told."""
    assert chosen
    compiled(PICTURE, home, runtime="openvino f32")
    script = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from groundlook.models.runtime import Network, compiled\n"
        "wanted = Network.of(__import__('json').loads(sys.argv[1]))\n"
        "found = compiled(wanted, Path(sys.argv[2]), runtime='openvino f32')\n"
        "found(np.zeros((1, 3, 64, 48)))\n"
        "assert 'openvino' in sys.modules\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'onnx', 'openvino_telemetry')]\n"
        "assert not bad, bad\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, json.dumps(PICTURE.body()), str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_lean_attention_gives_the_same_numbers() -> None:
    plain, (example,) = runtime_networks.many(lean=False)
    lean, _ = runtime_networks.many(lean=True)
    assert plain.state_dict().keys() == lean.state_dict().keys()
    with torch.inference_mode():
        torch.testing.assert_close(lean(example), plain(example), rtol=1e-5, atol=1e-6)
        other = torch.randn(2, 14, 14, 24)  # tables of another size are resampled
        torch.testing.assert_close(lean(other), plain(other), rtol=1e-5, atol=1e-6)
