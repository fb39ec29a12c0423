"""Every line of `make gpu-check` runs on the CPU, at sizes that take seconds; what is not there is said, not fatal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gpu_check
import pytest
import torch
from gpu import loss_rows as losses
from gpu.clustering_rows import clustering_rows
from gpu.command_rows import command_rows
from gpu.loss_rows import loss_rows
from gpu.measure import Machine, Row, as_table, at_least, at_most, guarded, number
from gpu.several_rows import several_rows


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine("cpu", quick=True, folder=tmp_path)


def test_a_figure_stands_beside_its_aim() -> None:
    rows = [at_most("a", 1.2, 1.3), at_least("b", 0.5, 0.9, note="half"), at_most("c", None, 2, "GiB"), Row("d|e", "1 ms")]  # fmt: skip
    assert as_table(rows) == [
        "| what | figure | aim | of it |",
        "|---|---|---|---|",
        "| a | 1.2 times | at most 1.3 times | met |",
        "| b | 0.5 times | at least 0.9 times | **missed**, half |",
        "| c | not installed | at most 2 GiB |  |",
        "| d/e | 1 ms |  |  |",
    ]
    assert [number(value) for value in (0.8123, 12.34, 5051.6)] == ["0.812", "12.3", "5,052"]


def test_a_part_that_fails_is_a_row() -> None:
    def rows() -> Iterator[Row]:
        yield Row("first", "1")
        raise RuntimeError("no\nluck")

    found = list(guarded("part", rows))
    assert found[0].what == "first"
    assert (found[1].figure, found[1].note, found[1].failed) == ("failed", "RuntimeError: no luck", True)


def test_losses_are_measured_with_the_peer_and_without(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_peer = [row.what for row in loss_rows(machine)]
    assert len(with_peer) == 3 * (2 + 2 * 2 + 1 + 2) + 2
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning.losses", None)
    without = list(loss_rows(machine))
    assert [row.what for row in without] == with_peer
    assert {row.figure for row in without if "faster than" in row.what} == {"not installed"}


def test_a_loss_that_needs_too_much_memory_is_a_row(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(losses.MultiSimilarityLoss, "forward", hungry)
    found = [row for row in loss_rows(machine) if row.figure == "out of memory"]
    assert len(found) == 6


def test_clustering_is_measured_and_repeats_itself(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {row.what: row for row in clustering_rows(machine)}
    assert found["clustering, the same bytes twice"].figure == "yes"
    assert len(found) == 7
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert [row.figure for row in clustering_rows(machine)] == ["not installed"]


@pytest.mark.slow
def test_commands_and_several_processes_are_measured(machine: Machine) -> None:
    shares = {row.what: row.figure for row in command_rows(machine)}
    assert shares["train, of the bare step"].endswith(" times")
    found = list(several_rows(machine))
    assert [row.figure for row in found] == ["right", "done"]


def test_without_a_gpu_it_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main([]) == 2
    assert "torch sees no GPU" in capsys.readouterr().err


def test_the_table_is_kept_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_check, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu_check, "machine_words", lambda: ("one card", ["FAISS sees: advice"]))
    monkeypatch.setattr(gpu_check, "PARTS", {"losses": lambda machine: [Row("x", "1 ms")]})
    assert gpu_check.main(["--device", "cpu", "--only", "losses"]) == 0
    assert "| x | 1 ms |" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert gpu_check.main(["--device", "cpu", "--only", "losses", "--store"]) == 0
    text = (tmp_path / "gpu.json").read_text()
    assert '"check"' in text
    assert "one card" in text
    with pytest.raises(SystemExit):
        gpu_check.main(["--device", "cpu", "--quick", "--store"])
