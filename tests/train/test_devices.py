"""What precision settings come to on a device, and how float32 is multiplied inside."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from waits import CountedWaits

from subspace.mining.errors import SubspaceWarning
from subspace.train.devices import (
    PLAIN,
    Arithmetic,
    autocast,
    backward_products,
    fp32_products,
    numbers_of,
    settled,
    warn_of_emulated_bf16,
)
from subspace.train.training_config import Precision

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(("has_bf16", "precision", "warned"), [
    (False, "bf16-mixed", True), (True, "bf16-mixed", False), (False, "32-true", False),
])  # fmt: skip
def test_bf16_that_a_cpu_has_to_emulate_is_warned_of(
    has_bf16: bool, precision: Precision, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subspace.train.devices.cpu_has_bf16", lambda: has_bf16)
    warn_of_emulated_bf16.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            autocast(torch.device("cpu"), precision)
    assert [warning.category for warning in caught] == [SubspaceWarning] * warned


def flags() -> tuple[bool, bool]:
    """Whether TF32 is on in convolutions and in products, as torch's own older names say it."""
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def test_32_true_is_float32_in_convolutions_too_and_tf32_is_what_it_says() -> None:
    before = flags()
    assert before == (True, False)  # torch's default
    with autocast(CPU, "32-true"):
        assert flags() == (False, False)
        with fp32_products("tf32"):
            assert flags() == (True, True)
        assert flags() == (False, False)
    assert flags() == before
    for precision, inside in (("32-true", (False, False)), ("tf32", (True, True)), ("bf16-mixed", before)):
        with backward_products(precision):
            assert flags() == inside
    with pytest.raises(ZeroDivisionError), autocast(CPU, "tf32"):
        raise ZeroDivisionError
    assert flags() == before


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9")
def test_the_newer_flags_of_torch_are_left_as_somebody_set_them() -> None:
    conv, rnn = torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    try:
        conv.fp32_precision, rnn.fp32_precision = "ieee", "tf32"
        with autocast(CPU, "tf32"):
            assert (conv.fp32_precision, rnn.fp32_precision) == ("tf32", "tf32")
        with autocast(CPU, "32-true"):
            assert (conv.fp32_precision, rnn.fp32_precision) == ("ieee", "ieee")
        assert (conv.fp32_precision, rnn.fp32_precision) == ("ieee", "tf32")
    finally:
        torch.backends.cudnn.allow_tf32 = True


@pytest.mark.parametrize(("capability", "precision", "channels_last", "expected"), [
    ((9, 0), "auto", "auto", Arithmetic("bf16-mixed", channels_last=True)),
    ((8, 0), "auto", False, Arithmetic("bf16-mixed", channels_last=False)),
    ((7, 5), "auto", "auto", PLAIN),
    ((9, 0), "32-true", "auto", PLAIN),
    ((9, 0), "32-true", True, Arithmetic("32-true", channels_last=True)),
    ((9, 0), "tf32", "auto", Arithmetic("tf32", channels_last=True)),
    ((7, 5), "16-mixed", "auto", Arithmetic("16-mixed", channels_last=True)),
])  # fmt: skip
def test_auto_is_what_the_gpu_is_fastest_with(
    capability: tuple[int, int],
    precision: Any,
    channels_last: Any,
    expected: Arithmetic,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert settled(GPU, precision, channels_last) == expected


def test_auto_on_a_cpu_is_float32_as_it_lies() -> None:
    assert settled(CPU) == PLAIN
    assert str(settled(CPU)) == "32-true, contiguous"
    assert settled(CPU, "bf16-mixed") == Arithmetic("bf16-mixed", channels_last=False)


def test_scalars_of_all_types_are_read_in_one_copy() -> None:
    scalars = [torch.tensor(0.1), 2.5, torch.tensor(0.1, dtype=torch.float64), torch.tensor(3.0)]
    with CountedWaits() as waits:
        read = numbers_of(scalars)
    assert read == [torch.tensor(0.1).item(), 2.5, 0.1, 3.0]
    assert waits.seen == ["tolist"]
    assert numbers_of([]) == []


def test_parents_of_the_newer_flags_do_not_bring_tf32_back() -> None:
    conv, before = torch.backends.cudnn.conv, torch.backends.cudnn.fp32_precision
    torch.backends.cudnn.fp32_precision = "tf32"
    try:
        with fp32_products("ieee"):
            assert (conv.fp32_precision, torch.backends.cudnn.rnn.fp32_precision) == ("ieee", "ieee")
        assert conv.fp32_precision == "tf32"
    finally:
        torch.backends.cudnn.fp32_precision = before
        torch.backends.cudnn.allow_tf32 = True
