"""The cross-batch memory: a plain list as its model, pytorch-metric-learning's, checkpoints, every loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as pml
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.miners import BatchHardMiner
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from subspace.mining.errors import InputError
from subspace.train.losses.batch_ohnm import BatchOHNMLoss
from subspace.train.losses.class_losses import SoftmaxLoss
from subspace.train.losses.cross_batch_memory import CrossBatchMemory
from subspace.train.losses.loss import EmbeddingLoss
from subspace.train.losses.pair_losses import (
    CirclePairLoss,
    ContrastiveLoss,
    MultiSimilarityLoss,
    PairwiseCosFaceLoss,
)
from subspace.train.losses.random_triplets import DistanceWeightedLoss, RandomTripletLoss
from subspace.train.losses.triplet_rules import BatchAllLoss, BatchHardLoss, SemiHardLoss
from subspace.train.losses.verification import VerificationLoss

D = 5
LOSSES: list[Callable[[], nn.Module]] = [
    ContrastiveLoss,
    MultiSimilarityLoss,
    CirclePairLoss,
    PairwiseCosFaceLoss,
    BatchOHNMLoss,
    lambda: BatchOHNMLoss(absolute_margin=0.0, squared=False, soft_margin=True),
    BatchAllLoss,
    BatchHardLoss,
    SemiHardLoss,
    RandomTripletLoss,
    DistanceWeightedLoss,
    lambda: VerificationLoss(D),
]


def batch(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(n, D, generator=generator).double() + 0.4
    return embeddings.requires_grad_(), torch.randint(-2, 4, (n,), generator=generator)


class Seen(EmbeddingLoss):
    """A loss that shows what it was given."""

    def forward(
        self,
        embeddings: Tensor,
        labels: Tensor,
        ref_emb: Tensor | None = None,
        ref_labels: Tensor | None = None,
        own_start: int | None = None,
    ) -> Tensor:
        self.given = (ref_emb, ref_labels, own_start)
        return embeddings.sum()


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=8),
    size=st.integers(1, 12),
    warmup=st.integers(0, 3),
)
def test_it_holds_the_newest_embeddings_after_the_warm_up(sizes: list[int], size: int, warmup: int) -> None:
    memory = CrossBatchMemory(Seen(), D, size, warmup)
    model: list[tuple[list[float], int]] = []
    for step, n in enumerate(sizes):
        embeddings, labels = batch(n, seed=step)
        memory(embeddings, labels)
        ref_emb, ref_labels, own_start = memory.loss.given
        if model:
            assert own_start == 0
            assert torch.equal(ref_emb[:n], embeddings)
            assert torch.equal(ref_labels[:n], labels)
            found = sorted(zip(ref_emb[n:].tolist(), ref_labels[n:].tolist(), strict=True))
            assert found == sorted(model[-size:])
        else:
            assert (ref_emb, ref_labels, own_start) == (None, None, None)
        if step >= warmup:
            unit = nn.functional.normalize(embeddings.detach(), dim=1).float().double()
            model += list(zip(unit.tolist(), labels.tolist(), strict=True))


@pytest.mark.parametrize("build", LOSSES)
def test_every_loss_works_with_a_memory_that_wraps_around(build: Callable[[], nn.Module]) -> None:
    memory = CrossBatchMemory(build(), D, memory_size=10, warmup_steps=1)
    alone = build()
    for step in range(5):
        embeddings, labels = batch(6, seed=step)
        value = memory(embeddings, labels)
        plain = alone(embeddings, labels)
        assert torch.isfinite(value)
        assert torch.isfinite(torch.autograd.grad(value, embeddings)[0]).all()
        if step < 2:  # the warm-up, and an empty memory
            assert value.item() == plain.item()
    assert (memory.statistics is None) == (alone.statistics is None)


@pytest.mark.parametrize("build", LOSSES)
def test_an_image_is_not_its_own_positive(build: Callable[[], nn.Module]) -> None:
    # Singletons in the batch, others in the memory: without positives a loss has negatives at most.
    memory = CrossBatchMemory(build(), D, memory_size=10, warmup_steps=0)
    embeddings, _ = batch(4, seed=1)
    memory(batch(4, seed=0)[0], torch.arange(4))
    own = memory(embeddings, torch.arange(10, 14))
    everything = torch.cat([embeddings, memory.embedding_memory[:4].double()])
    foreign = build()(embeddings, torch.arange(10, 14), everything[4:], torch.arange(4))
    if isinstance(memory.loss, (ContrastiveLoss, MultiSimilarityLoss)):
        assert own.item() > 0
    else:
        assert own.item() == foreign.item() == 0


# The peer's memory takes the batch in first, so its size counts the batch.
@pytest.mark.parametrize("n", [4, 6])
def test_values_are_those_of_pytorch_metric_learning(n: int) -> None:
    squared = LpDistance(power=2)
    peers = [
        (MultiSimilarityLoss(), pml.MultiSimilarityLoss(2, 50, 0.5), None),
        (CirclePairLoss(0.25, 64), pml.CircleLoss(0.25, 64), None),
        (PairwiseCosFaceLoss(0.0, 10), pml.NTXentLoss(0.1), None),
        (BatchAllLoss(0.3), pml.TripletMarginLoss(0.3, distance=squared), None),
    ]
    for ours, theirs, miner in peers:
        memory = CrossBatchMemory(ours, D, memory_size=12, warmup_steps=0)
        peer = pml.CrossBatchMemory(theirs, D, memory_size=12 + n, miner=miner)
        for step in range(9):
            embeddings, labels = batch(n, seed=step)
            value, expected = memory(embeddings, labels), peer(embeddings, labels)
            assert value.item() == pytest.approx(expected.item(), abs=1e-5, rel=1e-5)


def test_batch_hard_with_a_memory_is_batch_hard_on_all_with_the_batch_as_anchors() -> None:
    memory = CrossBatchMemory(BatchHardLoss(0.5), D, memory_size=8, warmup_steps=0)
    (old, old_labels), (new, labels) = batch(8, seed=0), batch(6, seed=1)
    memory(old, old_labels)
    everything, all_labels = torch.cat([new, old.detach()]), torch.cat([labels, old_labels])
    squared = LpDistance(power=2)
    a, p, n = BatchHardMiner(distance=squared)(everything, all_labels)
    rows = tuple(index[a < 6] for index in (a, p, n))
    expected = pml.TripletMarginLoss(0.5, distance=squared)(everything, all_labels, rows)
    value = memory(new, labels)
    assert value.item() == pytest.approx(expected.item(), abs=1e-5)
    torch.testing.assert_close(
        torch.autograd.grad(value, new)[0], torch.autograd.grad(expected, new)[0], atol=1e-5, rtol=1e-4
    )


def test_gradcheck_through_the_memory() -> None:
    memory = CrossBatchMemory(MultiSimilarityLoss(), D, memory_size=8, warmup_steps=0)
    memory(*batch(8, seed=0))
    memory.eval()
    embeddings, labels = batch(6, seed=1)
    assert torch.autograd.gradcheck(lambda e: memory(e, labels), embeddings)


@pytest.mark.parametrize("build", LOSSES)
def test_a_checkpoint_continues_exactly(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    unbroken, first, resumed = (CrossBatchMemory(build(), D, 10, warmup_steps=1) for _ in range(3))
    values = [unbroken(*batch(6, seed=step)).item() for step in range(8)]
    for step in range(4):
        assert first(*batch(6, seed=step)).item() == values[step]
    save_file(first.state_dict(), tmp_path / "loss.safetensors")
    resumed.load_state_dict(load_file(tmp_path / "loss.safetensors"))
    assert [resumed(*batch(6, seed=step)).item() for step in range(4, 8)] == values[4:]


def test_evaluation_reads_the_memory_and_moves_nothing() -> None:
    memory = CrossBatchMemory(MultiSimilarityLoss(), D, memory_size=10, warmup_steps=0)
    memory(*batch(6, seed=0))
    before = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    value = memory.eval()(*batch(6, seed=1))
    assert value.item() == memory(*batch(6, seed=1)).item()
    assert value.item() != MultiSimilarityLoss()(*batch(6, seed=1)).item()
    assert all(torch.equal(tensor, before[name]) for name, tensor in memory.state_dict().items())


def test_half_precision_batches_are_kept_in_single() -> None:
    memory = CrossBatchMemory(BatchAllLoss(), D, memory_size=10, warmup_steps=0)
    for step in range(3):
        embeddings, labels = batch(6, seed=step)
        half = embeddings.detach().bfloat16().requires_grad_()
        value = memory(half, labels)
        value.backward()
        assert value.dtype == torch.float32
    assert memory.embedding_memory.dtype == torch.float32


def test_nan_is_told_and_not_kept() -> None:
    memory = CrossBatchMemory(MultiSimilarityLoss(), D, memory_size=10, warmup_steps=0)
    with pytest.raises(InputError, match="hold NaN"):
        memory(torch.full((4, D), math.nan), torch.arange(4))
    assert memory.kept == 0


def test_bad_settings_are_named() -> None:
    for arguments, message in [
        ({"memory_size": 0}, "memory_size=0"),
        ({"warmup_steps": -1}, "warmup_steps=-1"),
        ({"embedding_size": 0}, "embedding_size=0"),
    ]:
        with pytest.raises(InputError, match=message):
            CrossBatchMemory(BatchAllLoss(), **{"embedding_size": D, **arguments})
    with pytest.raises(InputError, match="cannot serve SoftmaxLoss, which takes no references"):
        CrossBatchMemory(SoftmaxLoss(2, D), D)
    with pytest.raises(InputError, match="of 4 numbers, but CrossBatchMemory was built for 5"):
        CrossBatchMemory(BatchAllLoss(), D)(torch.ones(3, 4), torch.arange(3))
