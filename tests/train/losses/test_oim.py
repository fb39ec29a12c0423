"""OIM, against the paper's closed form and slow loops over the images of a batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_checks import network
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from subspace.mining.errors import InputError
from subspace.train.losses.oim import OIMLoss


def embeddings_of(n: int, d: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(1000 + seed)).double().requires_grad_()


class SlowOIM:
    """The paper, image by image; the queue as a list, newest last."""

    def __init__(self, table: Tensor, queue_size: int, *, temperature: float, momentum: float) -> None:
        self.table, self.queue, self.queue_size = list(table.clone()), [], queue_size
        self.temperature, self.momentum = temperature, momentum

    def value(self, embeddings: Tensor, labels: list[int]) -> Tensor:
        terms = []
        for x, t in zip(embeddings, labels, strict=True):
            if t >= 0:
                unit = x / x.norm()
                logits = torch.stack([w @ unit / self.temperature for w in self.table + self.queue])
                terms.append(torch.logsumexp(logits, dim=0) - logits[t])
        return torch.stack(terms).mean() if terms else embeddings.sum() * 0

    def update(self, embeddings: Tensor, labels: list[int]) -> None:
        for x, t in zip(embeddings.detach(), labels, strict=True):
            unit = x / x.norm()
            if t < 0:
                self.queue = [*self.queue, unit][-self.queue_size :]
            else:
                moved = self.momentum * self.table[t] + (1 - self.momentum) * unit
                self.table[t] = moved / moved.norm()


def queue_in_order(loss: OIMLoss) -> Tensor:
    """What the circular queue holds, oldest first."""
    fill, pointer, size = int(loss.fill), int(loss.pointer), loss.queue_size
    return loss.queue[[(pointer - fill + k) % size for k in range(fill)]]


@settings(max_examples=60)
@given(
    batches=st.lists(st.lists(st.integers(-1, 3), min_size=1, max_size=9), min_size=1, max_size=4),
    queue_size=st.integers(1, 6),
    temperature=st.sampled_from([0.05, 0.1, 1.0]),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    seed=st.integers(0, 99),
)
def test_values_gradients_table_and_queue_follow_the_definition(
    batches: list[list[int]], queue_size: int, temperature: float, momentum: float, seed: int
) -> None:
    options = {"temperature": temperature, "momentum": momentum}
    loss = OIMLoss(4, 4, queue_size=queue_size, seed=seed, **options).double()
    slow = SlowOIM(loss.table, queue_size, **options)
    for step, labels in enumerate(batches):
        embeddings = embeddings_of(len(labels), seed=100 * seed + step)
        value, expected = loss(embeddings, torch.tensor(labels)), slow.value(embeddings, labels)
        torch.testing.assert_close(value, expected)
        ours, theirs = (torch.autograd.grad(v, embeddings)[0] for v in (value, expected))
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7)

        slow.update(embeddings, labels)
        torch.testing.assert_close(loss.table, torch.stack(slow.table))
        assert int(loss.fill) == len(slow.queue)
        if slow.queue:
            torch.testing.assert_close(queue_in_order(loss), torch.stack(slow.queue))


def test_the_gradient_is_the_papers_closed_form() -> None:
    """dL/dx = -((1 - p_t)·v_t - sum_{j != t} p_j·v_j - sum_k q_k·u_k) / tau, with respect to the unit vector x."""
    loss, tau = OIMLoss(3, 4, queue_size=5).double(), 0.1
    loss(embeddings_of(3, seed=1), torch.tensor([-1, -1, -1]))
    x = (embeddings_of(1, seed=2) / embeddings_of(1, seed=2).norm()).detach().requires_grad_()
    unit, table, queue, t = x.detach()[0], loss.table.clone(), queue_in_order(loss).clone(), 1

    (gradient,) = torch.autograd.grad(loss(x, torch.tensor([t])), x)

    total = sum(math.exp(float(w @ unit) / tau) for w in [*table, *queue])
    p = [math.exp(float(v @ unit) / tau) / total for v in table]
    q = [math.exp(float(u @ unit) / tau) / total for u in queue]
    closed = (1 - p[t]) * table[t]
    closed = closed - sum((p[j] * table[j] for j in (0, 2)), torch.zeros(4).double())
    closed = closed - sum((q[k] * queue[k] for k in range(3)), torch.zeros(4).double())
    closed = -closed / tau
    # The loss normalises its input, so what runs along x itself is lost.
    torch.testing.assert_close(gradient[0], closed - (closed @ unit) * unit)


def test_gradcheck() -> None:
    loss, labels = OIMLoss(4, 3, queue_size=3).double(), torch.tensor([0, -1, 3, 3, 1])
    loss(embeddings_of(2, 3, seed=1), torch.tensor([-1, -1]))
    loss.eval()
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), embeddings_of(5, 3))


def test_evaluation_changes_nothing() -> None:
    loss = OIMLoss(4, 4, queue_size=3).eval()
    before = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    loss(embeddings_of(4), torch.tensor([0, 1, -1, 2]))
    for name, tensor in loss.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_batch_may_exceed_the_queue() -> None:
    loss, embeddings = OIMLoss(2, 4, queue_size=3).double(), embeddings_of(8)
    loss(embeddings, torch.full((8,), -1))
    torch.testing.assert_close(queue_in_order(loss), nn.functional.normalize(embeddings.detach()[5:]))
    assert (int(loss.pointer), int(loss.fill)) == (8 % 3, 3)


def test_without_labelled_images_the_loss_is_zero_with_a_zero_gradient() -> None:
    loss, embeddings = OIMLoss(2, 4), embeddings_of(3)
    value = loss(embeddings, torch.full((3,), -1))
    assert value.item() == 0
    assert not torch.autograd.grad(value, embeddings)[0].any()


def test_without_a_queue_unlabelled_images_are_ignored() -> None:
    loss, embeddings = OIMLoss(2, 4, queue_size=0), embeddings_of(3)
    with_unlabelled = loss.eval()(embeddings, torch.tensor([0, -1, 1]))
    assert torch.equal(with_unlabelled, loss(embeddings[[0, 2]], torch.tensor([0, 1])))
    loss.train()(embeddings, torch.tensor([0, -1, 1]))
    assert int(loss.fill) == 0


@pytest.mark.parametrize("unlabelled", [0, 3])
def test_an_empty_queue_costs_nothing_and_changes_no_bit(unlabelled: int) -> None:
    """5,000 empty rows were multiplied with in every step of a run, whose images all have labels."""
    labels, images = torch.tensor([0, 1, 3, 3, 1]), embeddings_of(5, seed=3)
    without, with_queue = (OIMLoss(4, 4, queue_size=size, seed=1).double() for size in (0, 5000))
    expected, value = without(images, labels), with_queue(images, labels)
    assert torch.equal(value, expected)
    assert torch.equal(*(torch.autograd.grad(v, images)[0] for v in (value, expected)))

    with_queue(embeddings_of(unlabelled + 1, seed=4), torch.tensor([0] + [-1] * unlabelled))
    with FlopCounterMode(display=False) as counted:
        with_queue(images, labels)
    assert counted.get_total_flops() == 2 * 2 * 5 * 4 * (4 + unlabelled)


def test_a_loss_whose_state_is_loaded_counts_its_queue_anew() -> None:
    whole, again = (OIMLoss(2, 4, queue_size=3, seed=seed) for seed in (0, 1))
    for loss, images in ((whole, 2), (again, 1)):
        loss(embeddings_of(images, seed=images), torch.full((images,), -1))
    again.load_state_dict(whole.state_dict())
    for _ in range(2):
        labels = torch.tensor([0, -1, 1, -1])
        assert torch.equal(again(embeddings_of(4), labels), whole(embeddings_of(4), labels))
        for name, tensor in whole.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor), name
    assert (int(again.fill), int(again.pointer)) == (3, 0)


def test_what_overflows_stays_neither_in_the_table_nor_in_the_queue() -> None:
    loss = OIMLoss(2, 4, queue_size=3)
    before = loss.table.clone()
    lost = torch.full((2, 4), math.nan)
    loss._update_table(lost, torch.tensor([0, -1]))
    loss._push(lost)
    assert torch.equal(loss.table, before)
    assert loss.queue.isfinite().all()


def test_the_table_begins_with_unit_vectors_of_the_seed_or_zeros() -> None:
    before = torch.random.get_rng_state()
    table = OIMLoss(10, 4, seed=3).table
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.testing.assert_close(table.norm(dim=1), torch.ones(10))
    assert torch.equal(OIMLoss(10, 4, seed=3).table, table)
    assert not torch.equal(OIMLoss(10, 4, seed=4).table, table)

    zeros, embeddings = OIMLoss(2, 4, start="zeros").double(), embeddings_of(1)
    assert zeros(embeddings, torch.tensor([1])).item() == pytest.approx(math.log(2))
    torch.testing.assert_close(zeros.table[1], (embeddings / embeddings.norm()).detach()[0])
    assert not zeros.table[0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_extreme_embeddings_stay_finite(dtype: torch.dtype) -> None:
    """On the table's rows, opposite to them (the update cancels), and zero."""
    loss = OIMLoss(4, 3, queue_size=2, temperature=0.01)
    rows = loss.table
    embeddings = torch.stack([rows[0], -rows[1], 0 * rows[2], rows[3], -rows[3]]).to(dtype).requires_grad_()
    value = loss(embeddings, torch.tensor([0, 1, 2, 3, -1]))
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.isfinite(value)
    assert torch.isfinite(torch.autograd.grad(value, embeddings)[0]).all()
    assert all(torch.isfinite(tensor).all() for tensor in loss.state_dict().values())


def train(network: nn.Linear, loss: OIMLoss, steps: range) -> list[float]:
    """SGD on noisy copies of one fixed point a class; classes 5 and up are unlabelled."""
    optimizer, values = torch.optim.SGD(network.parameters(), lr=0.05), []
    points = torch.randn(8, 6, generator=torch.Generator().manual_seed(77))
    for step in steps:
        rng = torch.Generator().manual_seed(step)
        labels = torch.randint(8, (16,), generator=rng)
        inputs = points[labels] + 0.3 * torch.randn(16, 6, generator=rng)
        value = loss(network(inputs), torch.where(labels < 5, labels, -1))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


@pytest.mark.parametrize("start", ["random", "zeros"])
def test_twenty_steps_lower_the_loss(start: Any) -> None:
    values = train(network(0), OIMLoss(5, 6, queue_size=20, start=start), range(20))
    assert sum(values[-3:]) < 0.8 * sum(values[:3])


def test_a_checkpoint_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    whole_network, whole = network(0), OIMLoss(5, 6, queue_size=50)
    train(whole_network, whole, range(10))
    save_file(whole.state_dict(), tmp_path / "loss.safetensors")
    resumed_network, resumed = network(9), OIMLoss(5, 6, queue_size=50, seed=9)
    resumed_network.load_state_dict(whole_network.state_dict())
    resumed.load_state_dict(load_file(tmp_path / "loss.safetensors"))
    assert int(resumed.fill) == 50
    assert int(resumed.pointer) > 0

    assert train(resumed_network, resumed, range(10, 15)) == train(whole_network, whole, range(10, 15))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue_size": -1}, "queue_size=-1"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"momentum": 1.5}, "momentum=1.5"),
        ({"start": "ones"}, "start='ones'"),
        ({"num_classes": 0}, "at least one identity, got 0"),
        ({"embedding_size": 0}, "at least 1, got 0"),
    ],
)
def test_bad_settings_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        OIMLoss(**{"num_classes": 3, "embedding_size": 4} | options)


@pytest.mark.parametrize("label", [-2, 3])
def test_wrong_labels_are_told(label: int) -> None:
    with pytest.raises(InputError, match=rf"label {label} is outside -1\.\.2"):
        OIMLoss(3, 4)(embeddings_of(2), torch.tensor([0, label]))


def test_embeddings_that_are_not_finite_are_told() -> None:
    with pytest.raises(InputError, match="NaN"):
        OIMLoss(3, 4)(torch.full((1, 4), math.nan), torch.tensor([0]))
