"""Rows of losses: equal to the constructors' signatures, as strict as they are, and read without torch.

Covers train/losses/setting_rules.py, too.
"""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest
import torch

from subspace.mining.errors import InputError, SubspaceWarning
from subspace.train.losses import LOSSES, BatchAllLoss, BatchOHNMLoss, TrainingSet, build_loss, check_loss
from subspace.train.losses.building import CLASS_LOSSES
from subspace.train.losses.registry import fingerprint_arguments, renamed_arguments
from subspace.train.losses.setting_rules import Above, Choice, Flag, MarginOfKind, Needs, Number

TENSORS = {"never"}
"""Arguments of constructors that no file can hold."""
ANSWERS = {
    "num_classes": 4,
    "embedding_size": 3,
    "seed": 0,
    "subspace_of": torch.tensor([0, 0, 1, 1]),
    "loss": BatchAllLoss(),
}
VALUES: tuple[Any, ...] = (
    -1, 0, 1, 2, 3, 7, -1.5, -1.0, -0.1, 0.0, 1e-9, 1e-3, 9e-4, 0.3, 0.5, 1.0, 1.4, 1.5, 1.6, math.pi / 2,
    1.99, 2.0, 2.1, 100.0, 101.0, 1e4, 1.1e4, math.inf, -math.inf, math.nan, None, True, False, "", "x",
    "exact", "constant", "others", "all", "hardest", "random", "zeros", "am", "arc", "fixed", "adaptive", "softmax", "cosface", "arcface",
    "float32", "bfloat16", "0.3", [1],
)  # fmt: skip
SETTINGS = [(name, key) for name, row in LOSSES.items() for key in row.settings]


def constructor(name: str) -> Any:
    row = LOSSES[name]
    return getattr(import_module(f"subspace.train.losses.{row.module}"), row.class_name)


def refused(what: Any, *arguments: Any, **named: Any) -> bool:
    try:
        what(*arguments, **named)
    except InputError:
        return True
    return False


@pytest.mark.parametrize("name", LOSSES)
def test_a_row_has_the_names_and_defaults_of_the_constructor(name: str) -> None:
    row = LOSSES[name]
    signature = inspect.signature(constructor(name)).parameters
    settings = {key: each.default for key, each in signature.items() if key not in {*row.given, *TENSORS}}
    assert {key: setting.default for key, setting in row.settings.items()} == settings
    assert set(row.given) == set(signature) & set(ANSWERS)
    loss = constructor(name)(**{key: ANSWERS[key] for key in row.given})
    assert loss.labels_are_places == row.needs_classes
    assert loss.takes_references == row.takes_references
    if loss.takes_references:
        assert {"ref_emb", "ref_labels", "own_start"} <= set(inspect.signature(loss.forward).parameters)


@pytest.mark.parametrize(("name", "key"), SETTINGS, ids=lambda word: word)
def test_the_row_refuses_what_the_constructor_refuses(name: str, key: str) -> None:
    row = LOSSES[name]
    expression = "xbm:batch_all" if name == "xbm" else name
    kinds = row.settings["kind"].rule if key == "margin" and "kind" in row.settings else None
    given = {each: ANSWERS[each] for each in row.given}
    accepted = []
    for kind in kinds.words if isinstance(kinds, Choice) else (None,):
        more = {} if kind is None else {"kind": kind}
        for value in VALUES:
            own = {**more, key: value}
            early = refused(check_loss, expression, {name: own})
            assert early == refused(constructor(name), **given, **own), own
            accepted += [value] * (not early)
    assert accepted
    assert any(value not in accepted for value in VALUES)


@pytest.mark.parametrize(
    ("rule", "good", "bad", "words"),
    [
        (Number(0), [0, 0.0, 5, 1e30], [-0.1, math.inf, math.nan, None, "1", True], "a number of at least 0"),
        (Number(0, above=True), [1e-30, 1], [0, -1], "a number above 0"),
        (Number(0, 1, below=True), [0, 0.99], [1, 1.0], "a number of at least 0 and below 1"),
        (
            Number(-1, 1, "a cosine"),
            [-1, 1],
            [-1.01, 1.01],
            "a number of at least -1 and at most 1: a cosine",
        ),
        (Number(1, whole=True), [1, 10**12], [0, 1.0, 2.5, None], "a whole number of at least 1"),
        (Number(optional=True), [None, -9.0], [math.nan, "x"], "a number, or null"),
        (Choice(("a", "b")), ["a", "b"], ["c", None, 1], "one of a, b"),
        (Flag(), [True, False], [0, 1, None, "true"], "true or false"),
    ],
)
def test_rules(rule: Any, good: list[Any], bad: list[Any], words: str) -> None:
    assert [rule.problem(value, {}) for value in good] == [None] * len(good)
    assert {rule.problem(value, {}) for value in bad} == {f" must be {words}"}


def test_a_margin_follows_its_kind() -> None:
    rule = MarginOfKind({"flat": None, "wide": Number(0, 2), "narrow": Number(0, 1)})
    assert [rule.problem(1.5, {"kind": kind}) is None for kind in ("flat", "wide", "narrow")] == [
        False,
        True,
        False,
    ]
    assert rule.problem(None, {"kind": "flat"}) is None
    assert rule.problem(1, {"kind": "flat"}) == " with kind='flat': leave it out, or choose wide, narrow"


def test_a_flag_may_need_another_setting_and_a_number_be_above_one() -> None:
    flag, above = Needs("soft", True), Above("low")
    assert [flag.problem(value, {"soft": True}) for value in (True, False)] == [None, None]
    assert flag.problem(True, {"soft": False}) == " is for soft=true alone"
    assert flag.problem(1, {"soft": True}) == " must be true or false"
    assert [above.problem(value, {"low": 2}) for value in (None, 3)] == [None, None]
    assert above.problem(2, {"low": 2}) == " must be above low=2, or no negative is left"
    assert above.problem(0.5, {"low": 2}) == " must be a whole number of at least 1, or null"
    assert above.problem(3, {"low": "x"}) is None


def test_losses_are_checked_without_torch() -> None:
    script = (
        "import sys\n"
        "import subspace.train.losses.registry\n"
        "from subspace.train.losses import LOSSES, check_loss, check_pretraining_loss\n"
        "check_loss('xbm:multi_similarity + 0.5*arcface', {'multi_similarity': {'base': 0.7}})\n"
        "check_pretraining_loss('softmax', {})\n"
        "sys.exit('torch' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_older_names_of_settings_are_read_with_one_line() -> None:
    old = {
        "multi_similarity": {"threshold": 0.7, "beta": 9.0}, "xbm": {"size": 8},
        "batch_ohnm": {"skip": 1, "relative_margin": 0.1},
    }  # fmt: skip
    with pytest.warns(SubspaceWarning) as said:
        new = renamed_arguments(old)
    assert new == {
        "multi_similarity": {"base": 0.7, "beta": 9.0}, "xbm": {"memory_size": 8},
        "batch_ohnm": {"range_min": 1, "absolute_margin": 0.1},
    }  # fmt: skip
    assert [str(each.message) for each in said] == [
        "train.loss_args.multi_similarity.threshold is now called base",
        "train.loss_args.xbm.size is now called memory_size",
        "train.loss_args.batch_ohnm.skip is now called range_min",
        "train.loss_args.batch_ohnm.relative_margin is now called absolute_margin (sentence-transformers' "
        "relative_margin=r is share_of_positive=1-r)",
    ]
    assert renamed_arguments(new) == new
    assert fingerprint_arguments(new) == fingerprint_arguments(old) == old
    assert str(fingerprint_arguments(new)) == str(old)  # in the same order


def test_a_loss_of_older_names_is_that_of_the_new_ones() -> None:
    identities = TrainingSet.from_means(torch.eye(4), torch.zeros(4, dtype=torch.int64), 0)
    with pytest.warns(SubspaceWarning, match="now called"):
        loss = build_loss(
            "xbm:multi_similarity", {"multi_similarity": {"threshold": 0.7}, "xbm": {"size": 8}}, identities
        )
    assert (loss.memory_size, loss.loss.base) == (8, 0.7)
    with pytest.warns(SubspaceWarning, match="now called"), pytest.raises(InputError, match="base=3 must be"):
        check_loss("multi_similarity", {"multi_similarity": {"threshold": 3}})


def test_the_constructor_takes_older_names_with_one_line() -> None:
    with pytest.warns(SubspaceWarning) as said:
        loss = BatchOHNMLoss(0.2, skip=1, relative_margin=0.1)
    assert (loss.rule.range_min, loss.rule.absolute_margin) == (1, 0.1)
    assert str(said[0].message) == "BatchOHNMLoss: skip is now called range_min"
    assert said[0].filename == __file__
    with pytest.raises(InputError, match="relative_margin is the old name of absolute_margin, and both"):
        BatchOHNMLoss(relative_margin=0.1, absolute_margin=0.1)


def test_a_setting_under_two_names_is_refused() -> None:
    with pytest.raises(InputError, match=r"pretrain\.loss_args\.xbm\.size is the old name of memory_size"):
        renamed_arguments({"xbm": {"size": 8, "memory_size": 9}}, "pretrain.loss")


def test_class_losses_are_those_with_classes_that_can_begin_at_random() -> None:
    assert CLASS_LOSSES == (
        "softmax", "cosface", "arcface", "mv_softmax", "curricularface", "circle", "partial_fc", "oim"
    )  # fmt: skip
