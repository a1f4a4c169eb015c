"""SAM's two halves in the runtime that `models.runtime` finds the fastest, for `bench models`.

The peer is the same network, with the same seeded random weights, in eager float32 PyTorch as segment_anything writes
it. A quick run takes an encoder of two blocks instead of twelve. Whether masks stay the same is measured on the
small SAM of the tests, which is trained: random weights have no masks.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from groundlook.models.runtime import Compiled, Network, compiled
from groundlook.models.runtime.measure import peak_mb, relative_error
from groundlook.service.bench import Goal, Result, in_turns, result

if TYPE_CHECKING:
    import torch

SIDE, CHANNELS, CELLS = 1024, 256, 64
TINY = Path(__file__).resolve().parents[1] / "weights" / "sam_tiny.safetensors"
PEER = "eager float32 PyTorch"
_GLOBAL = (2, 5, 8, 11)


def run(quick: bool) -> Iterator[Result]:
    """The cases, one after the other."""
    depth = 2 if quick else 12
    name = "ViT-B encoder" if depth == 12 else f"ViT-B encoder cut to {depth} blocks"
    with tempfile.TemporaryDirectory(prefix="groundlook-bench-") as folder:
        network = _network("encoder", {"depth": depth, "lean": True}, ("image",), ("embedding",))
        ours = compiled(network, Path(folder), device="cpu")
        yield from _encoder(f"{name}, {ours.runtime}", ours, depth, 2 if quick else 3)
        peak = _serving_mb(network, Path(folder))
        yield Result(f"most memory of a process that serves the {name}", peak / 1024, "GB", Goal("ours", "<", 3.0), 1)
        yield from _decoder(Path(folder), 5 if quick else 30)
        if TINY.exists():
            yield from _masks(Path(folder), 4 if quick else 20)


def _encoder(name: str, ours: Compiled, depth: int, repeats: int) -> Iterator[Result]:
    import torch

    plain, _ = encoder(depth, lean=False)
    rng = np.random.default_rng(11)
    image = rng.standard_normal((1, 3, SIDE, SIDE), dtype=np.float32)
    with torch.inference_mode():
        expected = plain(torch.from_numpy(image)).numpy()
        error = relative_error(ours(image), (expected,))
        turns = in_turns(lambda _: ours(image), lambda _: plain(torch.from_numpy(image)), repeats)
    yield result(f"{name}, {SIDE}²", "s", Goal("ratio", "<", 1 / 5), turns, PEER)
    yield Result(f"relative error of the {name}", error, "", Goal("ours", "<", 0.03), 1)


def _serving_mb(network: Network, folder: Path) -> float:
    """Of a process that loads what was chosen and encodes twice."""
    command = [sys.executable, __file__, json.dumps(network.body()), str(folder)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _decoder(folder: Path, repeats: int) -> Iterator[Result]:
    import torch

    names = ("embedding", "points", "labels", "mask", "has_mask")
    varies = dict.fromkeys(("mask", "has_mask", "logits", "quality"), (0,))
    dynamic = {"points": (0, 1), "labels": (0, 1), **varies}
    ours = compiled(_network("decoder", {}, names, ("logits", "quality"), dynamic), folder, exact=True, device="cpu")
    plain, example = decoder()
    given = [value.numpy() for value in example]
    with torch.inference_mode():
        turns = in_turns(lambda _: ours(*given), lambda _: plain(*example), repeats, warm=3)
    yield result(f"one click through SAM's decoder, {ours.runtime}", "ms", Goal("ratio", "<", 1.0), turns, PEER, 1000)


def _masks(folder: Path, pictures: int) -> Iterator[Result]:
    """Masks of the small SAM from embeddings of the quickest kind of runtime, beside those from PyTorch's."""
    from groundlook.core.errors import InvalidInput
    from groundlook.models.sam.build import decoder_network, encoder_network
    from groundlook.models.weights.file import digest

    make = partial(encoder_network, "tiny", TINY, digest(TINY))
    plain = compiled(make(), folder, runtime="torch eager")
    try:
        ours = compiled(make(), folder, runtime="openvino bf16")
    except InvalidInput:  # not installed, or no such arithmetic: what would serve, then
        ours = compiled(make(), folder, device="cpu")
    cut = compiled(decoder_network("tiny", TINY, digest(TINY)), folder, runtime="torch eager")
    shared = [_iou(cut, ours(image), plain(image), spots) for image, spots in _pictures(pictures)]
    every = [value for values in shared for value in values]
    case = f"least mask IoU of {len(every)} clicks, trained small SAM, {ours.runtime} beside {PEER}"
    yield Result(case, min(every), "IoU", Goal("ours", ">", 0.98), len(every))
    mean = f"mean mask IoU of {len(every)} clicks, trained small SAM, {ours.runtime} beside {PEER}"
    yield Result(mean, float(np.mean(every)), "IoU", Goal("ours", ">", 0.98), len(every))


def _pictures(count: int) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """What the encoder takes, and a point inside each object (N, 1, 2), x then y."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from groundlook.models.sam.frame import Frame
    from tests.weights.scenery import blocks

    side = 256
    rng = np.random.default_rng(5)
    for _ in range(count):
        painted = blocks(side, rng)
        inside = [np.argwhere(mask)[:, ::-1] for mask in painted.masks(60)]
        if inside:
            middles = [cells[np.abs(cells - np.median(cells, axis=0)).sum(axis=1).argmin()] for cells in inside]
            yield Frame.of((side, side), side, side // 2).enter(painted.pixels), np.float32(middles)[:, None]


def _iou(cut: Compiled, ours: Any, plain: Any, spots: NDArray[np.float32]) -> list[float]:
    """Per object, of the mask that each thinks the best."""
    count = len(spots)
    more = np.ones((count, 1), np.float32), np.zeros((count, 1, 128, 128), np.float32), np.zeros((count, 1, 1, 1))
    both = []
    for (embedding,) in (ours, plain):
        logits, quality = cut(embedding, spots, *more)
        both.append(logits[np.arange(count), 1 + quality[:, 1:].argmax(axis=1)] > 0)
    a, b = both
    return [float((x & y).sum() / max(1, (x | y).sum())) for x, y in zip(a, b, strict=True)]


# networks, which child processes build by name


def _network(
    build: str, arguments: dict[str, Any], inputs: tuple[str, ...], outputs: tuple[str, ...], dynamic: Any = None
) -> Network:
    key = sha256(json.dumps([build, arguments]).encode()).hexdigest()
    return Network(f"models_encoder:{build}", arguments, key, inputs, outputs, dynamic or {})


def encoder(depth: int, lean: bool) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """segment_anything's ViT-B image encoder, of `depth` blocks, seeded. `lean`: with attention as the product has."""
    import torch
    from segment_anything.modeling import ImageEncoderViT

    from groundlook.models.runtime.attention import lighten

    torch.manual_seed(0)
    module = ImageEncoderViT(
        img_size=SIDE,
        depth=depth,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=_GLOBAL if depth == 12 else (depth - 1,),
        window_size=14,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    ).eval()
    for name, value in module.named_parameters():
        value.requires_grad_(False)
        if "pos" in name:  # zeros at first, as no trained one has them
            value.normal_(0, 0.1)
    if lean:
        lighten(module)
    return module, (torch.randn(1, 3, SIDE, SIDE),)


def decoder() -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The decoder of all large SAMs, seeded, and one click."""
    import torch

    from groundlook.models.sam.architectures import ARCHS, ONNX
    from groundlook.models.sam.decoder import Decoder

    torch.manual_seed(0)
    module = Decoder(ARCHS[ONNX].build().eval().requires_grad_(False)).eval()
    points, mask = torch.tensor([[[400.0, 300.0]]]), torch.zeros(1, 1, 4 * CELLS, 4 * CELLS)
    return module, (torch.randn(1, CHANNELS, CELLS, CELLS), points, torch.ones(1, 1), mask, torch.zeros(1, 1, 1, 1))


def _serve(network: Network, folder: Path) -> None:
    ours = compiled(network, folder, device="cpu")
    for _ in range(2):
        ours(np.zeros((1, 3, SIDE, SIDE), np.float32))
    sys.stdout.write(str(peak_mb() or float("nan")))


if __name__ == "__main__":
    _serve(Network.of(json.loads(sys.argv[1])), Path(sys.argv[2]))
