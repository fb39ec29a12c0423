"""States on the way: what is kept for a collapse to go back to depends on the steps alone."""

from __future__ import annotations

import json
import time
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from several_processes import run_in
from torch import nn

from subspace.mining.artifacts import remove
from subspace.mining.errors import DamagedFileError, InputError
from subspace.pipeline.stages.saved_states import SavedStates
from subspace.train import distributed
from subspace.train.checkpoint_meta import CheckpointMeta
from subspace.train.collapse import CollapseGuard
from subspace.train.losses.batch_ohnm import BatchOHNMLoss
from subspace.train.losses.class_losses import ArcFaceLoss, SoftmaxLoss
from subspace.train.losses.cross_batch_memory import CrossBatchMemory
from subspace.train.losses.loss import EmbeddingLoss
from subspace.train.losses.oim import OIMLoss
from subspace.train.losses.random_triplets import RandomTripletLoss
from subspace.train.losses.triplet_rules import BatchHardLoss
from subspace.train.networks.backbone import Backbone, ImageInput
from subspace.train.optimizer_config import OptimizerConfig
from subspace.train.optimizers import build_optimizer
from subspace.train.training_config import CollapseConfig, LoaderConfig
from subspace.train.training_state import TrainingState

HEALTHY, COLLAPSED = (0.2, 1.8), (0.3, 0.01)


def states_in(
    folder: Path,
    save_every: int,
    window: int,
    fingerprint: str = "this",
    loss: EmbeddingLoss | None = None,
    train: dict[str, Any] | None = None,
) -> SavedStates:
    body = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    network = Backbone(body, spec="tiny", input=ImageInput(8), embedding_size=4)
    loss = loss or BatchOHNMLoss(0.3)
    guard = CollapseGuard(loss, CollapseConfig(window=window))
    optimizer = build_optimizer(
        [network, loss], OptimizerConfig.model_validate((train or {}).get("optimizer", {}))
    )
    meta = CheckpointMeta("tiny", 4, 0, fingerprint, config={"train": train} if train else {})
    state = TrainingState(network, loss, optimizer)
    return SavedStates(folder, LoaderConfig(save_every=save_every), meta, state, guard)


def run(
    states: SavedStates, first: int, last: int, collapse_from: int, also_at: tuple[int, ...] = ()
) -> int | None:
    """Steps as a training takes them; the step that a collapse goes back to."""
    for step in range(first + 1, last + 1):
        loss, distance = HEALTHY if step <= collapse_from else COLLAPSED
        if states.guard.add(step, torch.tensor(loss), torch.tensor(distance)):
            return states.load(states.sound()).step
        if step % states.loader.save_every == 0 or step in also_at:
            states.save(states.at(step), step)
    return None


def going_back_slowly_in_all_but_the_first(folder: Path) -> int:
    """As a collapse has it: all load a state, then process 0 saves a newer one, which replaces it."""
    states = states_in(folder, save_every=10, window=50, loss=BatchHardLoss())  # sends no tensors in a save
    states.save(states.at(10), 10)
    distributed.agree(True)
    if distributed.rank():
        time.sleep(1)
    step = states.load(states.at(10)).step
    states.save(states.at(20), 20)
    if distributed.rank() == 0:
        remove(states.at(10))
    return step


@pytest.mark.slow
def test_a_state_stays_until_all_processes_have_read_it(tmp_path: Path) -> None:
    assert run_in(2, tmp_path, going_back_slowly_in_all_but_the_first, tmp_path / "run") == [10, 10]


@pytest.mark.parametrize(
    ("save_every", "window", "collapse_from", "back_to"),
    [
        (500, 50, 560, 500),
        (500, 50, 5010, 5000),
        (20, 50, 5010, 5000),
        (100, 200, 5010, 4800),
        (60, 50, 30, 0),
    ],
)
@pytest.mark.parametrize("signals", [False, True])
def test_going_back_is_a_function_of_the_steps(
    tmp_path: Path, save_every: int, window: int, collapse_from: int, back_to: int, signals: bool
) -> None:
    states = states_in(tmp_path, save_every, window)
    states.save(states.at(0), 0)
    also_at = (15, 520, 4990, 5003) if signals else ()
    assert run(states, 0, 6000, collapse_from, also_at) == back_to
    assert len(states.on_the_way()) <= 3 + 3 * window // save_every


def test_a_killed_training_goes_back_as_the_unbroken_one(tmp_path: Path) -> None:
    for cut in (130, 200, 240, 290):
        folder = tmp_path / str(cut)
        first = states_in(folder, 40, 50)
        first.save(first.at(0), 0)
        assert run(first, 0, cut, 230) is None
        second = states_in(folder, 40, 50)
        step = second.restore(None).step
        assert step == cut // 40 * 40
        assert run(second, step, 1000, 230) == 200


def test_states_of_other_settings_are_neither_loaded_nor_removed(tmp_path: Path) -> None:
    """They were removed without a word; now the stage says what becomes of them (test_graph.py)."""
    other = states_in(tmp_path, 40, 50, "other")
    other.save(other.at(80), 80)
    other.save(other.checkpoint, 100)
    states = states_in(tmp_path, 40, 50)
    assert states.restore(None).step == 0
    assert states.on_the_way() == [states.at(80)]
    assert states.checkpoint.exists()


def test_a_round_inherits_rungs_peak_and_window(tmp_path: Path) -> None:
    first = states_in(tmp_path / "0", 40, 50)
    assert run(first, 0, 30, 20) is None
    first.guard.soften(30)
    first.save(first.checkpoint, 30)
    second = states_in(tmp_path / "1", 40, 50)
    assert second.restore(first.checkpoint).step == 0
    assert isinstance(second.state.loss, BatchOHNMLoss)
    assert second.state.loss.negatives == 10
    second.save(second.at(0), 0)
    assert (
        run(second, 0, 20, 0) is None
    )  # the window of 50 began with 30 steps of the round before, 20 of them sound
    assert run(second, 20, 120, 0) == 0


def trained(states: SavedStates, steps: int = 1) -> Path:
    """A checkpoint whose optimiser has moved every parameter."""
    for _ in range(steps):
        for group in states.state.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        states.state.optimizer.step()
    states.save(states.checkpoint, steps)
    return states.checkpoint


OPTIMIZERS = ("adamw", "sgd", "adagrad")


@pytest.mark.parametrize(("before", "now"), list(permutations(OPTIMIZERS, 2)))
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_round_with_another_optimizer_is_refused_with_the_setting(
    tmp_path: Path, before: str, now: str, momentum: float
) -> None:
    """It went on with state that nothing read, or ended in a KeyError of the first step."""
    first, second = (
        states_in(tmp_path / name, 40, 50, train={"optimizer": {"name": name, "momentum": momentum}})
        for name in (before, now)
    )
    with pytest.raises(
        InputError, match=rf"trained with train.optimizer.name={before}, .*: set it back, or"
    ) as error:
        second.restore(trained(first))
    assert not isinstance(error.value, DamagedFileError)
    assert "\n" not in str(error.value)


def test_a_round_with_another_loss_is_refused_where_it_keeps_something_else(tmp_path: Path) -> None:
    """It was told that a sound checkpoint is damaged."""
    losses: dict[str, EmbeddingLoss] = {
        "batch_hard": BatchHardLoss(), "batch_ohnm": BatchOHNMLoss(), "ohnm": RandomTripletLoss(),
        "softmax": SoftmaxLoss(5, 4), "arcface": ArcFaceLoss(5, 4), "oim": OIMLoss(5, 4),
    }  # fmt: skip

    def state(name: str, folder: str) -> SavedStates:
        train = {"loss": name, "loss_args": {}, "optimizer": {"name": "adamw"}}
        return states_in(tmp_path / folder, 40, 50, loss=losses[name], train=train)

    for before, now, fits in [
        ("batch_hard", "ohnm", False), ("batch_hard", "softmax", False), ("softmax", "batch_hard", False),
        ("softmax", "oim", False), ("batch_hard", "batch_ohnm", True), ("softmax", "arcface", True),
        ("ohnm", "batch_hard", True),
    ]:  # fmt: skip
        checkpoint, next_round = trained(state(before, before)), state(now, f"{before}-{now}")
        if fits:
            assert next_round.restore(checkpoint).step == 0
            continue
        with pytest.raises(InputError, match=rf"trained with train.loss={before}, .*: set it back") as error:
            next_round.restore(checkpoint)
        assert not isinstance(error.value, DamagedFileError)


def test_a_round_with_other_settings_of_its_loss_goes_on_where_they_fit(tmp_path: Path) -> None:
    def states(name: str, memory_size: int, margin: float) -> SavedStates:
        loss = CrossBatchMemory(BatchHardLoss(margin), 4, memory_size)
        args = {"xbm": {"memory_size": memory_size}, "batch_hard": {"margin": margin}}
        return states_in(
            tmp_path / name, 40, 50, loss=loss, train={"loss": "xbm:batch_hard", "loss_args": args}
        )

    first = trained(states("0", 8, 0.3))
    assert states("1", 8, 0.2).restore(first).step == 0
    with pytest.raises(
        InputError, match=r"trained with train.loss_args={'xbm': {'memory_size': 8}, .*}, and"
    ):
        states("2", 16, 0.3).restore(first)
    (first / "loss.safetensors").unlink()
    with pytest.raises(DamagedFileError, match=r"loss.safetensors is missing"):
        states("3", 8, 0.3).restore(first)


def test_checkpoints_that_do_not_say_what_they_were_trained_with_are_begun_with(tmp_path: Path) -> None:
    first = trained(states_in(tmp_path / "0", 40, 50))
    now = {"loss": "batch_ohnm", "loss_args": {}, "optimizer": {"name": "adamw"}}
    assert states_in(tmp_path / "1", 40, 50, train=now).restore(first).step == 0
    for name in ("sgd", "adagrad"):
        with pytest.raises(DamagedFileError, match=r"optimizer.safetensors is of another optimiser"):
            states_in(tmp_path / name, 40, 50, train={"optimizer": {"name": name}}).restore(first)


def test_weights_that_are_no_numbers_are_seen_wherever_they_are(tmp_path: Path) -> None:
    state = states_in(tmp_path, save_every=1, window=2).state
    assert state.problem(7) is None
    for lost in (float("nan"), float("inf"), -float("inf")):
        state = states_in(tmp_path, save_every=1, window=2).state
        with torch.no_grad():
            next(state.network.parameters()).view(-1)[3] = lost
        assert "step 7: the weights hold NaN or infinity" in (state.problem(7) or "")


@pytest.mark.parametrize("name", ["checkpoint", "resume/step-00000100"])
@pytest.mark.parametrize("change", [{"step": 90}, {"fingerprint": "another"}])
def test_what_a_checkpoint_without_a_marker_says_is_not_believed_when_changed(
    tmp_path: Path, name: str, change: dict[str, object]
) -> None:
    """A command that was killed before its marker goes on from it; by another fingerprint it would be removed."""
    states = states_in(tmp_path, 40, 50)
    states.save(tmp_path / name, 100)
    meta = tmp_path / name / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | change))
    with pytest.raises(DamagedFileError, match="it is not as it was written"):
        states_in(tmp_path, 40, 50).restore(None)
    assert meta.exists()


def test_the_steps_that_no_line_of_the_log_has_come_back_with_their_state(tmp_path: Path) -> None:
    states = states_in(tmp_path, save_every=10, window=50)
    states.window.add({"loss": torch.tensor(0.5)}, {"images": 3})
    states.save(states.at(3), 3)
    again = states_in(tmp_path, save_every=10, window=50)
    assert again.restore(None).step == 3
    assert (again.window.steps, again.window.means(), again.window.counts) == (
        1,
        {"loss": 0.5},
        {"images": 3},
    )

    path = states.at(3) / "meta.json"
    older = json.loads(path.read_text())
    del older["window"], older["files"]["meta.json"]
    path.write_text(json.dumps(older))
    before = states_in(tmp_path, save_every=10, window=50)
    assert (before.restore(None).step, before.window.state()) == (3, {})
