"""Chunks change the memory of a step, not its gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import run_in
from shared_training import GRADIENT, Layers, WithoutBatchNorm, batches, gradients_of, new_state, train
from torch import Tensor, nn

from subspace.mining.errors import InputError
from subspace.train.batch_norm import synchronize
from subspace.train.network_pass import NetworkPass
from subspace.train.optimizer_config import OptimizerConfig

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "batch_ohnm": ("batch_ohnm", {"batch_ohnm": {"margin": 1.0}}),
    "arcface": ("arcface", {"arcface": {"scale": 16}}),
    "xbm": ("xbm:contrastive", {"xbm": {"memory_size": 50, "warmup_steps": 0}}),
}


class WithDropout(WithoutBatchNorm):
    def __init__(self) -> None:
        super().__init__()
        self.linear[2] = nn.Dropout(0.3)


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-6) -> None:
    scale = max(1.0, *(float(tensor.abs().max()) for tensor in expected.values()))
    for name, tensor in expected.items():
        assert float((found[name] - tensor).abs().max()) <= tolerance * scale, name


def test_steps_seed_no_gpu_that_they_do_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step seeds dropout; `torch.manual_seed` also seeds all GPUs, and without any formats a stack for each kind of them."""
    batch = torch.zeros((4, 3, 8, 8), dtype=torch.uint8)
    state = new_state(*CASES["batch_ohnm"], OptimizerConfig(), Layers)
    passes = NetworkPass(state.network, torch.device("cpu"))
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    passes.forward(batch, 4, 4, 7)
    assert not seeded
    assert torch.initial_seed() == 7


@pytest.mark.parametrize("chunk_size", [4, 7, 26, 27, 100])
def test_chunks_give_the_gradients_of_one_pass(chunk_size: int) -> None:
    settings = {"optimizer": GRADIENT, "body": WithoutBatchNorm}
    for case in CASES.values():
        one_pass = train(*case, 1, **settings)
        chunked = train(*case, 1, **settings, engine={"chunk_size": chunk_size})
        assert chunked[0] == pytest.approx(one_pass[0], abs=1e-6)
        assert_close(chunked[1], one_pass[1])


def test_chunks_in_several_processes_give_the_gradients_of_one_pass(tmp_path: Path) -> None:
    settings = {"body": WithoutBatchNorm, "engine": {"chunk_size": 4}}
    alone = gradients_of(CASES, {"body": WithoutBatchNorm})
    found = run_in(2, tmp_path, gradients_of, CASES, settings)[0]
    for case, expected in alone.items():
        assert_close(found[case], expected)


@pytest.mark.slow
def test_chunks_of_several_processes_are_normalised_like_those_of_one(tmp_path: Path) -> None:
    """27 images: 4 chunks in one process, and 4 in each of two, of the same images taken together."""
    found = run_in(2, tmp_path, moved_by_even_batches, 4)[0]
    assert_close(found, moved_by_even_batches(8))


@pytest.mark.slow
def test_a_batch_that_is_hardly_readable_leaves_no_chunk_without_images(tmp_path: Path) -> None:
    """Batch norm over no image would make its running statistics NaN."""
    settings = {"unreadable": tuple(range(3, 27)), "engine": {"chunk_size": 4}}
    found = run_in(2, tmp_path, gradients_of, CASES, settings)[0]
    for case, expected in gradients_of(CASES, settings).items():
        assert_close(found[case], expected)


def moved_by_even_batches(chunk_size: int) -> dict[str, Tensor]:
    settings = {"optimizer": GRADIENT, "engine": {"chunk_size": chunk_size}}
    return train("batch_ohnm", {"batch_ohnm": {"margin": 1.0}}, 1, **settings, images=24)[1]


def test_batch_norm_sees_chunks_of_every_nth_image() -> None:
    """Against autograd through the whole batch, cut by hand; the running statistics move as far as by one pass."""
    images = next(iter(batches(range(1)))).images
    slopes = torch.randn(len(images), 8, generator=torch.Generator().manual_seed(0))
    ours, by_hand = (new_state("softmax", {}, OptimizerConfig(), Layers).network.train() for _ in range(2))
    passes = NetworkPass(ours, torch.device("cpu"), chunk_size=10)
    embeddings = passes.forward(images, len(images), len(images), seed=0)
    (embeddings * slopes).sum().backward()
    passes.backward()

    expected = torch.empty_like(embeddings)
    before = by_hand.body.linear[2].running_mean.clone()
    for i in range(3):
        expected[i::3] = by_hand(images[i::3])
    (expected * slopes).sum().backward()
    torch.testing.assert_close(embeddings, expected)
    for one, other in zip(ours.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-5)
    means = [network.body.linear[2].running_mean for network in (ours, by_hand)]
    far = 1 - (1 - 0.1) ** 3
    torch.testing.assert_close(
        (means[0] - before).norm() / 0.1, (means[1] - before).norm() / far, rtol=0.02, atol=0
    )


def test_a_batch_norm_of_its_own_kind_is_not_replaced_by_a_plain_one() -> None:
    """It may do more, of which a state dict says nothing: several processes would train another network."""

    class Activated(nn.BatchNorm2d):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input).relu()

    with pytest.raises(
        InputError, match=r"'1' is a Activated, a batch norm of its own kind.*sync_batch_norm=false"
    ):
        synchronize(nn.Sequential(nn.Conv2d(3, 4, 1), Activated(4)), torch.device("cpu"))


def test_dropout_is_the_same_in_both_passes() -> None:
    """Else the gradient would be that of another network: the loss would not fall where it points."""
    state = new_state("softmax", {}, OptimizerConfig(), WithDropout)
    images = next(iter(batches(range(1)))).images
    passes = NetworkPass(state.network.train(), torch.device("cpu"), chunk_size=9)
    first = passes.forward(images, len(images), len(images), seed=5)
    again = torch.empty_like(first)
    for i in range(3):
        again[i::3] = passes._embed(state.network, i)  # pyright: ignore[reportPrivateUsage]
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, passes.forward(images, len(images), len(images), seed=6))


def test_accumulated_batches_are_averaged() -> None:
    """Two batches without batch norm, one step: the mean of the gradients of each alone."""
    settings = {"optimizer": GRADIENT, "body": WithoutBatchNorm}
    case = CASES["batch_ohnm"]
    start = train(*case, 0, **settings)[1]
    both = train(*case, 2, **settings, engine={"accumulate": 2})[1]
    alone = [train(*case, 1, **settings, first=step)[1] for step in (0, 1)]
    for name, begun in start.items():
        expected = begun + ((alone[0][name] - begun) + (alone[1][name] - begun)) / 2
        torch.testing.assert_close(both[name], expected, atol=1e-5, rtol=1e-5)


def test_what_is_left_of_an_accumulation_moves_the_weights_at_the_end() -> None:
    settings = {"optimizer": GRADIENT, "body": WithoutBatchNorm}
    case = CASES["batch_ohnm"]
    start, one = train(*case, 0, **settings)[1], train(*case, 1, **settings)[1]
    left = train(*case, 1, **settings, engine={"accumulate": 4})[1]
    for name, begun in start.items():
        torch.testing.assert_close(left[name] - begun, (one[name] - begun) / 4, atol=1e-5, rtol=1e-5)


def test_averaged_weights_follow_the_weights() -> None:
    found = train(*CASES["arcface"], 6, ema=0.7)[1]
    every = [train(*CASES["arcface"], steps)[1] for steps in range(7)]
    for name, tensor in found.items():
        if not name.startswith("ema.") or not tensor.is_floating_point():
            continue
        mean = every[0][name.replace("ema.", "network.", 1)]
        for weights in every[1:]:
            mean = 0.7 * mean + 0.3 * weights[name.replace("ema.", "network.", 1)]
        torch.testing.assert_close(tensor, mean)


@pytest.mark.parametrize(
    "engine", [{"precision": "16-mixed"}, {"precision": "bf16-mixed"}, {"channels_last": True}]
)
def test_other_precisions_and_layouts_train_alike(engine: dict[str, Any]) -> None:
    optimizer = {"name": "adamw", "lr": 0.003}
    plain, other = (train(*CASES["arcface"], 30, optimizer=optimizer, engine=e)[0] for e in ({}, engine))
    assert other[-1] < 0.8 * other[0]
    assert other[-1] == pytest.approx(plain[-1], rel=0.1)


@pytest.mark.slow
def test_a_compiled_network_trains_alike() -> None:
    plain, compiled = (train(*CASES["arcface"], 5, engine={"compile": flag})[0] for flag in (False, True))
    assert compiled == pytest.approx(plain, rel=1e-3)
