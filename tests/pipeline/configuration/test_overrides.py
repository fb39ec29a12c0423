"""Settings given on a stage's command line are those of the run from then on, until the file or the user says otherwise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import QUICK, subspace

from subspace.mining.errors import InputError
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.config_file import load_config
from subspace.pipeline.configuration.overrides import (
    keep_overrides,
    kept_overrides,
    network_from_root,
    not_kept,
    with_whole_paths,
)
from subspace.pipeline.network_identity import network_fields
from subspace.pipeline.run_directory import RunDirectory
from subspace.pipeline.stages.context import Context


@pytest.fixture
def new_run(small_manifest: Path, tmp_path: Path) -> Path:
    run = tmp_path / "run"
    assert subspace("init", run, "--manifest", small_manifest, *QUICK, "pretrain.steps=0").returncode == 0
    return run


def states(run: Path) -> dict[str, str]:
    done = subspace("status", run, "--json")
    assert done.returncode == 0, done.stderr
    return {f"{state['folder']}/{state['stage']}": state["state"] for state in json.loads(done.stdout)}


def test_status_after_an_override_says_done(new_run: Path) -> None:
    done = subspace("pretrain", new_run, "embedding_size=32")
    assert (
        f"kept for the next commands of this run: embedding_size=32 ({new_run}/overrides.json)" in done.stdout
    )
    assert states(new_run)["start/pretrain"] == "done"  # was stale, for no reason that a user sees
    done = subspace("extract", new_run)
    assert done.returncode == 0, done.stderr
    assert "settings given earlier: embedding_size=32" in done.stdout
    assert "means of 32 numbers" in done.stdout


def test_the_newest_word_counts(new_run: Path) -> None:
    assert subspace("pretrain", new_run, "embedding_size=32", "seed=3").returncode == 0
    given = {"embedding_size": "32", "seed": "3"}
    kept = json.loads((new_run / "overrides.json").read_text())
    assert {key: entry["value"] for key, entry in kept.items()} == given
    assert subspace("pretrain", new_run, "embedding_size=16", "--force").returncode == 0
    assert json.loads((new_run / "overrides.json").read_text())["embedding_size"]["value"] == "16"
    settings = (new_run / "subspace.yaml").read_text()
    (new_run / "subspace.yaml").write_text(settings.replace("embedding_size: null", "embedding_size: 64"))
    stale = subspace("pretrain", new_run)
    assert stale.returncode == 3
    assert "embedding_size=16, now it is 64" in stale.stderr
    assert "settings given earlier: seed=3 (" in stale.stdout


@pytest.mark.parametrize(
    ("given", "code"),
    [(["--dry-run", "embedding_size=32"], 0), (["schedule.shards=2"], 0), (["rounds=none"], 2)],
)
def test_what_changes_nothing_is_not_kept(new_run: Path, given: list[str], code: int) -> None:
    assert subspace("pretrain", new_run, *given).returncode == code
    assert not (new_run / "overrides.json").exists()


def test_what_is_refused_is_not_kept(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    refused = subspace("run", run, "train.optimizer.lr=0.5")
    assert refused.returncode == 3
    assert not (run / "overrides.json").exists()
    assert set(states(run).values()) == {"done"}


def test_more_rounds_of_a_finished_run(finished_run: Path, tmp_path: Path) -> None:
    """The learning rate of every round depends on their number, so the message says how to train on."""
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    refused = subspace("run", run, "rounds=3")
    assert refused.returncode == 3
    assert "rounds=2, now it is 3" in refused.stderr
    assert f"`subspace init {run}-more --manifest MANIFEST --model checkpoint:{run}/best`" in refused.stderr


def test_a_setting_of_an_older_version_is_warned_of(new_run: Path) -> None:
    with open(new_run / "subspace.yaml", "a") as file:
        file.write('overlap: "auto"\n')
    done = subspace("pretrain", new_run)
    assert done.returncode == 0
    assert done.stderr.startswith("subspace: warning: overlap (")
    assert done.stderr.count("\n") == 1


def kept(run: Path, *given: str) -> list[str]:
    return kept_overrides(RunDirectory(run), given)


def keep(run: Path, *given: str) -> list[str]:
    return keep_overrides(RunDirectory(run), given)


def test_a_setting_replaces_those_above_and_below_it(new_run: Path) -> None:
    mapping, base = (
        "train.loss_args={multi_similarity: {base: 0.5}}",
        "train.loss_args.multi_similarity.base=0.5",
    )
    other = "train.loss_args.multi_similarity.base=0.6"
    for given, as_kept in ((mapping, base), (other, other), (mapping, base)):
        assert keep(new_run, given) == [as_kept]
        assert kept(new_run) == [as_kept]
    assert keep(new_run, "plan.steps=5", "plan.steps=7") == ["plan.steps=7"]
    assert kept(new_run) == [base, "plan.steps=7"]
    assert kept(new_run, "plan={steps: 3}") == [base]
    assert kept(new_run, "train.loss_args=null") == ["plan.steps=7"]
    assert keep(new_run, "schedule={max_running: 3}", "schedule.shards=2") == []


def test_a_mapping_is_kept_setting_by_setting(new_run: Path) -> None:
    """One of them that is given anew, as `lr --write` does it, leaves the others."""
    assert keep(new_run, "train.optimizer={name: sgd}", "plan={P: 16, K: 4}")
    keep(new_run, "train.optimizer.lr=0.2")
    keep(new_run, "train.optimizer={name: sgd}")  # as at the end of the command that it was given to
    keep(new_run, "plan.K=2")
    assert sorted(kept(new_run)) == [
        "plan.K=2",
        "plan.P=16",
        "train.optimizer.lr=0.2",
        "train.optimizer.name=sgd",
    ]


def test_a_mapping_that_an_earlier_version_kept_whole_is_read_setting_by_setting(new_run: Path) -> None:
    keep(new_run, "plan.steps=5")
    path = new_run / "overrides.json"
    before = load_config(new_run / "subspace.yaml").train.optimizer
    instead = {"name": before.name, "lr": before.lr}
    document = {"train.optimizer": {"value": "{name: sgd}", "instead_of": instead}}
    path.write_text(json.dumps(document))
    assert kept(new_run) == ["train.optimizer.name=sgd"]
    keep(new_run, "train.optimizer.lr=0.2")
    assert sorted(kept(new_run)) == ["train.optimizer.lr=0.2", "train.optimizer.name=sgd"]


@pytest.mark.parametrize("wrong", ["plan.steps=[", "data.train_splits=${x", "plan.steps=0100"])
def test_what_is_no_yaml_is_one_line_beside_kept_settings(new_run: Path, wrong: str) -> None:
    keep(new_run, "plan.steps=5")
    with pytest.raises(InputError, match="override"):
        kept_overrides(RunDirectory(new_run), [wrong])
    with pytest.raises(InputError, match="override"):
        Context.open(new_run, [wrong])


def test_a_setting_given_again_as_it_is_changes_nothing(new_run: Path) -> None:
    names = ["train.optimizer.name=sgd", "train.loss=arcface", "plan.strategy=doppelganger"]
    keep(new_run, *names)
    keep(new_run, "train.optimizer.lr=0.2", "train.loss_args.arcface.margin=0.3", "plan.group_size=4")
    before = kept(new_run)
    assert kept(new_run, *names) == [word for word in before if word not in names]
    assert keep(new_run, *names) == []
    assert kept(new_run) == before
    assert kept(new_run, "train.optimizer.name=adamw", "train.loss=softmax", "plan.strategy=random") == []


def test_a_file_may_be_called_as_its_kind_of_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(b"a network")
    assert network_from_root("onnx:x") == f"onnx:{tmp_path / 'x'}"
    assert network_from_root("onnx:x#x") == f"onnx:{tmp_path / 'x'}#x"
    assert network_from_root("python:x:x") == "python:x:x"
    run = RunDirectory(tmp_path / "run")
    identity = network_fields(RunConfig(manifest="m", model=f"onnx:{tmp_path / 'x'}#x"), run)["model"]
    named = network_fields(RunConfig(manifest="m", model="onnx:x#x"), run)["model"]
    assert named == identity
    assert named.startswith("onnx:")
    assert named.endswith("#x")


def test_an_older_name_is_the_same_setting(new_run: Path) -> None:
    assert keep(new_run, "train.loss_args.multi_similarity.threshold=0.7")
    assert kept(new_run) == ["train.loss_args.multi_similarity.base=0.7"]
    assert kept(new_run, "train.loss_args.multi_similarity.base=0.6") == []


def test_another_loss_forgets_the_settings_of_the_one_before(new_run: Path) -> None:
    assert keep(new_run, "train.loss=batch_hard", "train.loss_args.batch_hard.margin=0.2")
    assert kept(new_run, "train.loss=multi_similarity") == []


def test_settings_that_do_not_go_together_are_named(new_run: Path) -> None:
    keep(new_run, "train.loss=batch_hard", "train.loss_args.batch_hard.margin=0.2")
    settings = (new_run / "subspace.yaml").read_text()
    assert 'loss: "batch_ohnm"' in settings
    (new_run / "subspace.yaml").write_text(settings.replace('loss: "batch_ohnm"', 'loss: "contrastive"'))
    refused = subspace("status", new_run)
    assert refused.returncode == 2
    assert (
        f"in force too, from {new_run}/overrides.json: train.loss_args.batch_hard.margin=0.2"
        in refused.stderr
    )


@pytest.mark.parametrize("text", ["[1]", '{"plan.steps": "4"}', "{", '{"plan.steps": {"value": "4"}}'])
def test_a_damaged_file_is_one_line(new_run: Path, text: str) -> None:
    (new_run / "overrides.json").write_text(text)
    refused = subspace("status", new_run)
    assert refused.returncode == 3
    assert "overrides.json" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_kept_setting_is_compared_as_it_is_written(new_run: Path) -> None:
    assert subspace("pretrain", new_run, "seed=3").returncode == 0
    settings = new_run / "subspace.yaml"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("seed:")]
    settings.write_text("\n".join([*lines, "seed: ${oc.env:NOWHERE}"]) + "\n")
    refused = subspace("status", new_run)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "settings refer to settings" in refused.stderr


def test_what_was_done_with_settings_before_they_were_kept_is_kept_by_the_same_command(new_run: Path) -> None:
    assert subspace("pretrain", new_run, "embedding_size=32").returncode == 0
    (new_run / "overrides.json").unlink()  # as before they were kept
    assert states(new_run)["start/pretrain"] == "stale"
    again = subspace("pretrain", new_run, "embedding_size=32")
    assert "already done" in again.stdout
    assert states(new_run)["start/pretrain"] == "done"


def test_output_that_is_data_stays_data(finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run", symlinks=True))
    keep(run, "eval.bootstrap=20")
    done = subspace("plan", run, "--list-shards")
    assert done.returncode == 0
    assert "given earlier" not in done.stdout
    nothing = subspace("eval", run, "eval.metrics=null", "--dry-run", "--json")
    assert isinstance(json.loads(nothing.stdout), dict)


def test_a_notebook_has_the_kept_settings_too(new_run: Path) -> None:
    keep(new_run, "plan.steps=4")
    context = Context.open(new_run)
    assert (context.config.plan.steps, context.kept) == (4, ("plan.steps=4",))
    assert Context.open(new_run, ["plan.steps=6"]).config.plan.steps == 6


def test_an_older_name_is_kept_once_under_the_name_of_today(new_run: Path) -> None:
    today = "train.loss_args.batch_ohnm.absolute_margin=0.1"
    assert keep(new_run, "train.loss_args.batch_ohnm.relative_margin=0.1") == [today]
    assert keep(new_run, "train.loss_args.batch_ohnm.relative_margin=0.1") == []
    assert kept(new_run) == [today]


def test_a_setting_is_taken_back(new_run: Path) -> None:
    run = RunDirectory(new_run)
    assert keep_overrides(
        run, ["seed=3", "train.loss=multi_similarity", "train.loss_args.multi_similarity.threshold=0.8"]
    )
    assert Context.open(new_run, ["~seed"]).config.seed == 0
    assert Context.open(new_run).config.seed == 3  # until a stage works with it
    assert keep_overrides(run, ["~seed", "rounds=4"]) == ["rounds=4", "~seed"]
    assert Context.open(new_run).config.seed == 0
    assert keep_overrides(run, ["~train.loss"]) == ["~train.loss"]
    assert kept_overrides(run) == ["rounds=4"]
    assert keep_overrides(run, ["~seed"]) == []
    assert not_kept(run, ["~seed", "~rounds"]) == ["~seed"]
    for wrong in ("~", "~seed=3", "~a..b"):
        with pytest.raises(InputError, match="takes no setting back: write ~ and its name"):
            Context.open(new_run, [wrong])


def test_a_file_is_kept_as_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["data.cleaned=keep.parquet", "~data.cleaned", "rounds=2", "manifest=../m.parquet"]
    given += [
        "model=checkpoint:best",
        "weights=w.pth#model",
        "weights=pretrained",
        "manifest=s3://b/m.parquet",
    ]
    assert with_whole_paths(given) == [
        f"data.cleaned={tmp_path / 'keep.parquet'}",
        "~data.cleaned",
        "rounds=2",
        f"manifest={tmp_path.parent / 'm.parquet'}",
        f"model=checkpoint:{tmp_path / 'best'}",
        f"weights={tmp_path / 'w.pth'}#model",
        "weights=pretrained",
        "manifest=s3://b/m.parquet",
    ]


def test_paths_in_a_mapping_and_in_quotes_are_kept_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_whole_paths(
        [
            "data={cleaned: keep.parquet, timeout: 5}",
            'train={loss: "searched:./curve.json + batch_ohnm"}',
            "data.cleaned='my keep.parquet'",
            'model="onnx:x.onnx"',
            "plan={P: 16}",
            'train={loss: "arcface"}',
        ]
    ) == [
        f"data.cleaned={tmp_path / 'keep.parquet'}",
        "data.timeout=5",
        f'train.loss="searched:{tmp_path / "curve.json"} + batch_ohnm"',
        f'data.cleaned="{tmp_path / "my keep.parquet"}"',
        f'model="onnx:{tmp_path / "x.onnx"}"',
        "plan={P: 16}",
        "train.loss=arcface",
    ]
    for wrong in ("data={cleaned: [", 'data.cleaned="x'):
        with pytest.raises(InputError, match="override"):
            with_whole_paths([wrong])


def test_settings_of_a_dotted_module_are_given_whole(new_run: Path) -> None:
    given = ["train.loss=python:my.losses:Loss", "train.loss_args={python:my.losses:Loss: {pull: 2}}"]
    assert keep(new_run, *given) == given
    loss_args = load_config(new_run / "subspace.yaml", kept(new_run)).train.loss_args
    assert loss_args["python:my.losses:Loss"] == {"pull": 2}
