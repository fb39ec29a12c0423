"""Batch OHNM and multi-similarity, forward and backward, against one B × B product and against pytorch-metric-learning."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from subspace.train import BatchOHNMLoss, MultiSimilarityLoss

from .measure import NOT_INSTALLED, Machine, Row, at_least, at_most, number, peak_bytes, seconds_of

D, IMAGES_OF_ONE = 512, 4
LARGEST_PEER = 16_384
"""B up to which the peer is run: its B × B tensors take 13 GiB there."""
PEER = "pytorch-metric-learning"
AIMS = {
    ("batch OHNM", "fp32"): (3.0, 1.8, 1.5),
    ("batch OHNM that chooses in bf16", "bf16"): (6.0, 5.0, 4.0),
    ("multi-similarity", "fp32"): (2.5, 2.5, 2.5),
}
"""Products of the same size and type that forward and backward may take, at each B."""
GIB = 2.0
"""GiB that a loss may take beyond inputs and gradients at the largest B."""
FASTER = {"batch OHNM": 3.0}
"""Times that a loss is to be faster than the peer's."""

Step = Callable[[], None]


def loss_rows(machine: Machine) -> Iterator[Row]:
    """A row for each loss, B and type."""
    width, sizes = (32, (64, 128, 256)) if machine.quick else (D, (4_096, 16_384, 65_536))
    losses = {
        "batch OHNM": BatchOHNMLoss(),
        "batch OHNM that chooses in bf16": BatchOHNMLoss(choose_in="bfloat16"),
        "multi-similarity": MultiSimilarityLoss(alpha=2.0, beta=20.0, base=0.8),
    }
    peers = peer_losses()
    for place, B in enumerate(sizes):
        for kind, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            rows_BD, labels_B = look_alikes(B, width, machine.device, dtype)
            plain_BD = rows_BD.detach()
            product = seconds_of(lambda plain=plain_BD: plain @ plain.T, machine.device)
            yield Row(f"one product, {kind}, B={B:,}", f"{number(1e3 * product)} ms")
            for name, loss in losses.items():
                step = step_of(loss, rows_BD, labels_B)
                if "bf16" in name and kind != "bf16":
                    continue
                what, aim = f"{name}, {kind}, B={B:,}", AIMS.get((name, kind), (None,) * 3)[place]
                try:
                    taken = seconds_of(step, machine.device)
                except torch.OutOfMemoryError:
                    rows_BD.grad = None
                    torch.cuda.empty_cache()
                    yield Row(f"{what}, in products", "out of memory", met=False)
                    continue
                figure, note = taken / product, f"{number(1e3 * taken)} ms"
                if aim is None:
                    yield Row(f"{what}, in products", f"{number(figure)} times", note=note)
                else:
                    yield at_most(f"{what}, in products", figure, aim, note=note)
                if kind == "fp32" and place == len(sizes) - 1:
                    yield memory_row(f"{what}, peak memory", step, machine)
                if kind == "fp32" and B <= LARGEST_PEER:
                    theirs = None
                    if peers is not None:
                        theirs = seconds_of(step_of(peers[name], rows_BD, labels_B), machine.device)
                    yield peer_row(f"{what}, faster than {PEER}", FASTER.get(name), taken, theirs)


def memory_row(what: str, step: Step, machine: Machine) -> Row:
    """Memory of a loss beyond inputs and gradients."""
    taken = peak_bytes(step, machine.device)
    if taken is None:
        return Row(what, "not counted on a CPU", f"at most {GIB:g} GiB")
    return at_most(what, taken / 2**30, GIB, "GiB")


def peer_row(what: str, aim: float | None, ours: float, theirs: float | None) -> Row:
    """How many times as long the peer takes; `theirs` is None where it is not installed."""
    figure = None if theirs is None else theirs / ours
    note = "" if theirs is None else f"{number(1e3 * theirs)} ms"
    if aim is not None:
        return at_least(what, figure, aim, note=note)
    return Row(what, NOT_INSTALLED if figure is None else f"{number(figure)} times", note=note)


def peer_losses() -> dict[str, Callable[[Tensor, Tensor], Tensor]] | None:
    """The same losses of pytorch-metric-learning; None where that is not installed."""
    try:
        from pytorch_metric_learning.losses import MultiSimilarityLoss as PeerMultiSimilarityLoss
        from pytorch_metric_learning.losses import TripletMarginLoss
        from pytorch_metric_learning.miners import BatchHardMiner
    except ImportError:
        return None
    miner, triplet = BatchHardMiner(), TripletMarginLoss(margin=0.3)
    return {
        "batch OHNM": lambda rows, labels: triplet(rows, labels, miner(rows, labels)),
        "multi-similarity": PeerMultiSimilarityLoss(alpha=2, beta=20, base=0.8),
    }


def step_of(loss: Callable[[Tensor, Tensor], Tensor] | nn.Module, rows_BD: Tensor, labels_B: Tensor) -> Step:
    """Forward and backward."""

    def step() -> None:
        rows_BD.grad = None
        loss(rows_BD, labels_B).backward()

    return step


def look_alikes(B: int, width: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Four images of each identity, identities in families, so that negatives are near; unit length, in any order."""
    noise = torch.Generator().manual_seed(0)
    identities = B // IMAGES_OF_ONE
    family = torch.randn(max(1, identities // 64), width, generator=noise)
    own = family[torch.arange(identities) % len(family)] + 0.8 * torch.randn(
        identities, width, generator=noise
    )
    images = own.repeat_interleave(IMAGES_OF_ONE, 0) + 0.8 * torch.randn(B, width, generator=noise)
    order = torch.randperm(B, generator=noise)
    rows_BD = nn.functional.normalize(images[order], dim=1).to(device, dtype).requires_grad_()
    return rows_BD, torch.arange(identities).repeat_interleave(IMAGES_OF_ONE)[order].to(device)
