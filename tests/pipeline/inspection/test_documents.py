"""The JSON documents of a run, in words; --json has them whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from subspace.mining import InputError, StaleArtifactError
from subspace.pipeline.inspection.documents import summarize_document
from subspace.pipeline.learning_rate.trials import Trial, Trials
from subspace.pipeline.loss_search.record import Candidate, SearchRecord
from subspace.train.loss_search.curve import LossCurve


def written(folder: Path, name: str, document: Any) -> Path:
    (folder / name).write_text(json.dumps(document))
    return folder / name


def words(path: Path) -> list[str]:
    return [" ".join(line.split()) for line in summarize_document(path).lines()]


def test_a_marker(tmp_path: Path) -> None:
    marker = {
        "stage": "plan", "fingerprint": "f" * 32, "seconds": 192.0, "finished": "2026-11-26 20:17:55 UTC",
        "summary": {"batches": 400, "singletons": 0, "hardness": 0.413, "random_hardness": 0.221},
        "fields": {"plan.P": 16, "plan.group_size": None, "data.train_splits": ["train"]},
    }  # fmt: skip
    path = written(tmp_path, "plan.json", marker)
    assert summarize_document(path).facts == marker
    shown = words(path)
    assert "result 400 batches, nearest other identity at cosine 0.41 (random 0.22)" in shown
    assert "took 3 min 12 s" in shown
    assert "plan.group_size null" in shown
    assert "data.train_splits [train]" in shown


def test_an_evaluation(tmp_path: Path) -> None:
    document = {
        "fingerprint": "f" * 32, "identities": 600, "impostor_pairs": 1429813,
        "metrics": {
            "Rank-1": {"value": 0.898, "low": 0.88, "high": 0.91},
            "TAR@FAR=1e-2": {"value": 0.45, "low": 0.4, "high": 0.47, "far": 0.01, "threshold": 0.906},
            "TAR@FAR=1e-6": {"value": None, "low": None, "high": None, "far": 1e-6, "threshold": None},
        },
    }  # fmt: skip
    path = written(tmp_path, "evaluation.json", document)
    assert summarize_document(path).facts == document
    shown = words(path)
    assert "impostor pairs 1,429,813" in shown
    assert "Rank-1 89.8 % 88.0 % to 91.0 %" in shown
    assert "TAR@FAR=1e-2 45.0 % 40.0 % to 47.0 % 0.906" in shown
    assert "TAR@FAR=1e-6 unknown" in shown
    assert not any("identities 0" in line or "probe" in line for line in shown)


def test_the_best_network(finished_run: Path) -> None:
    document = json.loads((finished_run / "best.json").read_text())
    shown = words(finished_run / "best.json")
    assert f"validation {document['metric']} {100 * document['value']:.1f} %" in shown
    for name, found in document["validations"].items():
        assert f"{name} {100 * found['value']:.1f} %" in shown


def test_trackers_and_submissions(tmp_path: Path) -> None:
    shown = words(written(tmp_path, "trackers.json", {"fingerprint": "abc", "ids": {"mlflow": "7f"}}))
    assert "mlflow 7f" in shown
    task = {"job": "round-000-extract", "stage": "extract", "folder": "round-000", "id": "17_3", "shards": [3],
            "num_shards": 8}  # fmt: skip
    submission = {
        "run": "/runs/a",
        "scheduler": "slurm",
        "user": "ann",
        "overrides": ["plan.K=3"],
        "tasks": [task],
    }
    shown = words(written(tmp_path, "submission.json", submission))
    assert "scheduler slurm" in shown
    assert "settings given with it plan.K=3" in shown
    assert "round-000-extract 17_3 1 of 8" in shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot read"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1}', "no document of a run; its keys: a"),
        ("[]", "no document of a run; its keys: none"),
    ],
)
def test_other_documents_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "some.json").write_text(text)
    with pytest.raises(InputError, match=says):
        summarize_document(tmp_path / "some.json")


@pytest.mark.parametrize(
    "text",
    [
        '{"metrics": 3, "identities": 1, "fingerprint": ""}',
        '{"network": "a", "checkpoint": "b", "metric": "c", "value": "d", "validations": {}}',
        '{"stage": "train", "fingerprint": "a", "seconds": 1, "finished": "", "summary": {"steps": "8"}}',
    ],
)
def test_documents_with_other_values_are_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "some.json").write_text(text)
    with pytest.raises(StaleArtifactError, match=r"some\.json is damaged: .*; `subspace status RUN`"):
        summarize_document(tmp_path / "some.json")


def test_trials_of_learning_rates(tmp_path: Path) -> None:
    search = Trials(
        tmp_path / "trials.json", {"steps": 40}, {"Rank-1": {"value": 0.5, "low": 0.4, "high": 0.6}}
    )
    figures = {"Rank-1": {"value": 0.9, "low": 0.85, "high": 0.95}}
    search.add(Trial(0.004, "done", 40, 1920, 12.0, "cpu", figures, [[40, 0.5]]))
    search.add(Trial(1e30, "diverged", 1, 48, 0.1, "cpu"))
    shown = words(search.path)
    assert "the newest 2 rates tried so far" in shown
    assert "0.004 90.0 % done 40 12 s" in shown
    assert "1e+30 diverged 1 0.1 s" in shown
    search.keep_best("Rank-1", search.trials[0])
    assert "the newest 0.004 is the best of 2 rates, Rank-1 90.0 % on validation" in words(search.path)


def test_trials_whose_first_metric_is_unknown_are_shown_by_the_first_that_is_known(tmp_path: Path) -> None:
    unknown = {"TAR@FAR=1e-6": {"value": None, "low": None, "high": None}}
    figures = unknown | {"Rank-1": {"value": 0.9, "low": 0.85, "high": 0.95}}
    search = Trials(tmp_path / "trials.json", {"steps": 40}, figures)
    search.add(Trial(0.004, "done", 40, 1920, 12.0, "cpu", figures, [[40, 0.5]]))
    search.add(Trial(0.008, "done", 40, 1920, 12.0, "cpu", unknown, [[40, 0.5]]))
    assert [line for line in words(search.path) if line[:1].isdigit() or line.startswith("lr")] == [
        "lr Rank-1 result steps took",
        "0.004 90.0 % done 40 12 s",
        "0.008 done 40 12 s",
    ]
    search.start = unknown
    search.save()
    assert "0.004 done 40 12 s" in words(search.path)


def test_a_search_for_a_loss(tmp_path: Path) -> None:
    search = SearchRecord(tmp_path / "search.json", {"space": "am-lfs", "epochs": 3})
    search.add([Candidate([0.1], "done", 0.5, 1.0), Candidate([0.2], "diverged", None, 1.0)])
    shown = words(search.path)
    assert "epochs 1 of 3" in shown
    assert "1 50.0 % diverged" in shown
    (tmp_path / "curve.json").write_text(json.dumps(LossCurve(16.0, a=-2.5).to_json()))
    assert "a -2.5" in words(tmp_path / "curve.json")
