"""Weights files: read without running them, checked, fetched, transferred in part."""

from __future__ import annotations

import importlib.util
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

torch = pytest.importorskip("torch")
if importlib.util.find_spec("ultralytics") is None:  # importorskip would import it, and it would ask the network
    pytest.skip("the yolo extra is not installed", allow_module_level=True)

from groundlook.core.errors import InvalidInput, InvalidWeights  # noqa: E402
from groundlook.models.weights.fetch import fetch  # noqa: E402
from groundlook.models.weights.file import Weights, digest, read, save  # noqa: E402
from groundlook.models.yolo import network, offline  # noqa: E402


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    offline.ultralytics(tmp_path_factory.mktemp("config"))
    return network.build("yolov5n.yaml", 3)


class _Hostile:
    """Unpickled the trusting way, this touches a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.target,)


def test_safetensors_round_trip_keeps_tensors_names_and_arch(tmp_path: Path, module: Any) -> None:
    state = module.state_dict()
    path = save(tmp_path / "deep" / "w.safetensors", Weights(state, ("a", "b", "c"), "yolov5n.yaml"))
    back = read(path, digest(path))
    assert (back.names, back.arch) == (("a", "b", "c"), "yolov5n.yaml")
    assert back.state.keys() == state.keys()
    assert all(torch.equal(back.state[k], state[k]) for k in state)
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]


def test_a_plain_state_dict_loads_as_float32(tmp_path: Path, module: Any) -> None:
    torch.save(module.half().state_dict(), tmp_path / "w.pt")
    module.float()
    back = read(tmp_path / "w.pt")
    assert (back.names, back.arch) == (None, None)
    assert {v.dtype for v in back.state.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("key", ["model", "ema"])
def test_a_full_ultralytics_checkpoint_gives_tensors_names_and_arch(tmp_path: Path, key: str) -> None:
    from ultralytics.utils import IterableSimpleNamespace

    full = network.build("yolo11n.yaml", 2)
    full.names = {0: "house", 1: "tree"}
    full.args = IterableSimpleNamespace(lr0=0.1, save_dir=Path("x"))
    other = {"epoch": 3, "model": None, "ema": None, "train_metrics": {"fitness": 0.5}, "date": "2026"}
    torch.save({**other, key: full}, tmp_path / "best.pt")
    back = read(tmp_path / "best.pt")
    expected = full.state_dict()
    assert back.state.keys() == expected.keys()
    assert all(torch.equal(back.state[k], expected[k]) for k in expected)
    assert (back.names, back.arch) == (("house", "tree"), "yolo11n.yaml")


def test_the_allow_list_of_torch_is_as_before(tmp_path: Path, module: Any) -> None:
    torch.save({"model": module}, tmp_path / "w.pt")
    before = set(torch.serialization.get_safe_globals())
    read(tmp_path / "w.pt")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("inside", [False, True])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, module: Any, inside: bool) -> None:
    target = tmp_path / "touched"
    torch.save({"model": module, "extra": _Hostile(target)} if inside else _Hostile(target), tmp_path / "w.pt")
    with pytest.raises(InvalidWeights, match="refused"):
        read(tmp_path / "w.pt")
    assert not target.exists()


def test_a_constructor_of_an_allowed_class_is_not_run(tmp_path: Path) -> None:
    class Loads:
        """Asks for `AutoBackend(path)`, an nn.Module that reads the file it is given, trustingly."""

        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            from ultralytics.nn.autobackend import AutoBackend

            return AutoBackend, (str(inner),)

    target, inner = tmp_path / "touched", tmp_path / "inner.pt"
    inner.write_bytes(pickle.dumps(_Hostile(target)))
    torch.save({"model": Loads()}, tmp_path / "w.pt")
    with pytest.raises(InvalidWeights, match="without tensors"):
        read(tmp_path / "w.pt")
    assert not target.exists()


def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    target = tmp_path / "touched"
    (tmp_path / "w.pt").write_bytes(pickle.dumps(_Hostile(target)))
    with pytest.raises(InvalidWeights):
        read(tmp_path / "w.pt")
    assert not target.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_a_truncated_file_is_invalid(tmp_path: Path, module: Any, suffix: str, share: float) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save(module.state_dict(), whole)
    else:
        save(whole, Weights(module.state_dict()))
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InvalidWeights):
        read(cut)


def test_other_things_than_weights_are_invalid(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save(OrderedDict(), tmp_path / "empty.pt")
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("readme", "hello")
    (tmp_path / "w.onnx").write_bytes(b"x")
    for name in ("list.pt", "empty.pt", "zip.pt", "w.onnx", "missing.pt", "missing.safetensors", "."):
        with pytest.raises(InvalidWeights, match="weights"):
            read(tmp_path / name)


def test_tensors_larger_than_their_file_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1, dtype=torch.float16).expand(1 << 40)}, tmp_path / "repeated.pt")
    torch.save({"a": torch.zeros(1 << 40, device="meta")}, tmp_path / "described.pt")
    sparse = torch.sparse_coo_tensor(torch.zeros(1, 0), torch.zeros(0), (1 << 40,), check_invariants=True)
    torch.save({"a": sparse}, tmp_path / "sparse.pt")
    for name in ("repeated.pt", "described.pt", "sparse.pt"):
        assert (tmp_path / name).stat().st_size < 4000
        with pytest.raises(InvalidWeights, match="weights"):
            read(tmp_path / name)


@pytest.mark.parametrize("body", [b"\x80\x02X\x01", b"\x80\x02.", b"\x80\x020.", b"\x80\x02h\x00."])
def test_a_crafted_pickle_is_invalid(tmp_path: Path, body: bytes) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as whole, zipfile.ZipFile(tmp_path / "crafted.pt", "w") as crafted:
        for name in whole.namelist():
            crafted.writestr(name, body if name.endswith("data.pkl") else whole.read(name))
    with pytest.raises(InvalidWeights, match="fetch them again"):
        read(tmp_path / "crafted.pt")


def test_a_wrong_hash_names_both(tmp_path: Path, module: Any) -> None:
    path = save(tmp_path / "w.safetensors", Weights(module.state_dict()))
    with pytest.raises(InvalidWeights) as caught:
        read(path, "0" * 64)
    assert "0" * 64 in str(caught.value)
    assert digest(path) in str(caught.value)


def test_transfer_takes_what_fits_and_says_how_much(module: Any) -> None:
    other = network.build("yolov5n.yaml", 7)
    fitted, total = network.transfer(other, module.state_dict())
    assert total == len(other.state_dict())
    assert total - 12 < fitted < total  # all but the class layers of three scales
    assert torch.equal(other.state_dict()["model.0.conv.weight"], module.state_dict()["model.0.conv.weight"])
    with pytest.raises(InvalidWeights, match="none of the 1 tensors"):
        network.transfer(other, {"nope": torch.zeros(1)})


@pytest.mark.parametrize("arch", ["yolo11z.yaml", "../yolov5n.yaml", "https://x/yolov5n.yaml", "yolov5n-seg.yaml", ""])
def test_only_known_networks_are_built(arch: str) -> None:
    with pytest.raises(InvalidInput, match="network"):
        network.build(arch, 1)


def test_the_coco_start_transfers(data_dir: Path, module: Any) -> None:
    coco = read(data_dir / "weights" / "yolov5n_state_dict.pt")
    assert network.transfer(network.build("yolov5n.yaml", 1), coco.state) == (342, 427)


class _Server:
    """An https server without a network: counts what is asked of it."""

    def __init__(self, body: bytes) -> None:
        self.body, self.asked = body, 0
        self.client = httpx.Client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if request.url.path == "/moved.pt":
            return httpx.Response(302, headers={"location": "https://b.test/w.pt"})
        if request.url.path == "/plain.pt":
            return httpx.Response(302, headers={"location": "http://b.test/w.pt"})
        if request.url.path == "/round.pt":
            return httpx.Response(302, headers={"location": "/round.pt"})
        return httpx.Response(404) if request.url.path == "/none.pt" else httpx.Response(200, content=self.body)


def test_fetch_downloads_once_and_checks(tmp_path: Path) -> None:
    server, body = _Server(b"weights" * 1000), b"weights" * 1000
    wanted = sha256(body).hexdigest()
    first = fetch("https://a.test/moved.pt", wanted, tmp_path, client=server.client)
    assert first.read_bytes() == body
    assert fetch("https://a.test/moved.pt", wanted.upper(), tmp_path, client=server.client) == first
    assert server.asked == 2  # the redirect and the file, once
    assert fetch(first, wanted, tmp_path) == first


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://a.test/w.pt", "expected"),
        ("https://a.test/none.pt", "404"),
        ("https://a.test/plain.pt", "not https"),
        ("https://a.test/round.pt", "more than 5 times"),
        ("http://a.test/w.pt", "not https"),
        ("file:///etc/passwd", "not https"),
        ("https://a.test/w.exe", "not .safetensors"),
    ],
)
def test_fetch_refuses_and_leaves_nothing(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(InvalidWeights, match=message):
        fetch(url, "1" * 64, tmp_path / "cache", client=_Server(b"x").client)
    assert not list(tmp_path.rglob("*.p*"))
    assert not list(tmp_path.rglob(".part*"))


class _Breaks(httpx.SyncByteStream):
    """A body whose connection is lost after some bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self._body
        raise httpx.ReadError("connection lost")


def test_a_download_that_broke_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    body, asked, told = bytes(range(256)) * 4000, [], []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range"))
        if len(asked) == 1:
            return httpx.Response(200, headers={"content-length": str(len(body))}, stream=_Breaks(body[:600_000]))
        start = int(asked[-1].removeprefix("bytes=").removesuffix("-"))
        return httpx.Response(206, content=body[start:])

    client, wanted = httpx.Client(transport=httpx.MockTransport(answer)), sha256(body).hexdigest()
    with pytest.raises(InvalidWeights, match="what came is kept, try again"):
        fetch("https://a.test/w.pt", wanted, tmp_path, client=client)
    path = fetch("https://a.test/w.pt", wanted, tmp_path, client=client, progress=lambda d, t: told.append((d, t)))
    assert path.read_bytes() == body
    assert asked == [None, "bytes=524288-"]  # whole blocks of 256 KiB
    assert told[-1] == (1.0, "1 of 1 MB")
    assert told[0][0] > 0.5


def test_a_download_that_takes_too_long_goes_on_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, asked = bytes(range(256)) * 4000, []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("range"))
        start = int((asked[-1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        return httpx.Response(206 if start else 200, content=body[start:])

    client, wanted = httpx.Client(transport=httpx.MockTransport(answer)), sha256(body).hexdigest()
    with monkeypatch.context() as slow:
        slow.setattr("groundlook.models.weights.fetch._SECONDS", -1.0)
        with pytest.raises(InvalidWeights, match=r"took over .* what came is kept"):
            fetch("https://a.test/w.pt", wanted, tmp_path, client=client)
    assert fetch("https://a.test/w.pt", wanted, tmp_path, client=client).read_bytes() == body
    assert asked == [None, "bytes=262144-"]


def test_what_changed_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    server, body = _Server(b"weights"), b"weights"
    path = fetch("https://a.test/w.pt", sha256(body).hexdigest(), tmp_path, client=server.client)
    path.write_bytes(b"rotten")
    fetch("https://a.test/w.pt", sha256(body).hexdigest(), tmp_path, client=server.client)
    assert (path.read_bytes(), server.asked) == (body, 2)


def test_fetch_needs_a_hash_and_bounds_the_size(tmp_path: Path) -> None:
    with pytest.raises(InvalidWeights, match="64 hex digits"):
        fetch("https://a.test/w.pt", "", tmp_path)
    with pytest.raises(InvalidWeights, match="larger than 10 bytes"):
        fetch("https://a.test/w.pt", "1" * 64, tmp_path, most_bytes=10, client=_Server(b"x" * 11).client)
    with pytest.raises(InvalidWeights, match="can't be read"):
        fetch(tmp_path / "missing.pt", "1" * 64, tmp_path)
