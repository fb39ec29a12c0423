"""Settings: what is written is what is read, overrides win, mistakes are named.

Covers pipeline/configuration/config.py, mining/settings.py and train/training_config.py as well.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining import InputError
from subspace.pipeline.configuration.config import RunConfig
from subspace.pipeline.configuration.config_file import load_config, parse_config, write_config

configs = st.builds(
    lambda seed, rounds, P, K, g, fraction, lr, subspaces, size: parse_config(
        {
            "manifest": "m.parquet",
            "seed": seed,
            "rounds": rounds,
            "embedding_size": size,
            "cluster": {"ids_per_subspace": subspaces},
            "plan": {"P": P, "K": K, "group_size": g, "random_fraction": fraction},
            "train": {"optimizer": {"lr": lr}},
        },
        [],
        "test",
    ),
    st.integers(0, 2**31),
    st.integers(1, 99),
    st.integers(16, 512),
    st.integers(1, 64),
    st.integers(1, 8),
    st.floats(0, 0.5),
    st.floats(1e-9, 10),
    st.one_of(st.just("all"), st.integers(1, 10**6)),
    st.one_of(st.none(), st.integers(1, 4096)),
)


@given(configs)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, config: RunConfig) -> None:
    path = tmp_path_factory.mktemp("run") / "subspace.yaml"
    write_config(path, config)
    assert load_config(path) == config
    assert all(
        "#" in line for line in path.read_text().splitlines() if line.strip() and not line.endswith(":")
    )


def test_overrides_win(tmp_path: Path) -> None:
    path = tmp_path / "subspace.yaml"
    write_config(path, parse_config({"manifest": "a"}, [], "test"))
    config = load_config(
        path,
        ["train.optimizer.lr=2e-4", "cluster.ids_per_subspace=all", "eval.ks=[1,10]", "embedding_size=64"],
    )
    assert config.train.optimizer.lr == 2e-4
    assert config.cluster.ids_per_subspace == "all"
    assert config.eval.ks == (1, 10)
    assert config.embedding_size == 64


@pytest.mark.parametrize("written", ["base", "threshold"])
@pytest.mark.parametrize("given", ["base", "threshold"])
def test_older_names_of_loss_settings_are_read_in_files_and_overrides(
    tmp_path: Path, written: str, given: str
) -> None:
    path = tmp_path / "subspace.yaml"
    write_config(path, parse_config({"manifest": "a"}, [], "test"))
    text = path.read_text()
    assert '"base"' in text
    path.write_text(text.replace('"base"', f'"{written}"'))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        config = load_config(path, [f"train.loss_args.multi_similarity.{given}=0.7"])
    assert config.train.loss_args == {"multi_similarity": {"base": 0.7, "beta": 20.0}}
    named = [str(each.message) for each in said]
    assert named == ["train.loss_args.multi_similarity.threshold is now called base"] * [
        written,
        given,
    ].count("threshold")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("plan.stepps=3", "did you mean 'plan.steps'"),
        ("train.lr=0.1", "did you mean 'train.optimizer.lr'"),
        ("lr=0.1", "did you mean 'train.optimizer.lr'"),
        ("optimizer.lr=0.1", "did you mean 'train.optimizer'"),
        ("nothing_like_it=1", "`subspace init --help`"),
        ("plan.steps=many", "plan.steps=many"),
        ("plan.steps=0", "greater than or equal to 1"),
        ("cluster.ids_per_subspace=0", "setting 'cluster.ids_per_subspace=0'"),
        ("train.num_workers=-1", "setting 'train.num_workers=-1'"),
        ("preprocess.std=wide", "setting 'preprocess.std=wide'"),
        ("validation.ks=[0]", "give ranks of 1 or more (validation.ks, "),
        ("plan.steps=0100", "YAML reads 0100 as a number to the base 8"),
        (
            "schedule.job.hours=8:00:00",
            "YAML reads 8:00:00 as a number to the base 60; write it as one number",
        ),
        ("rounds=yes", "a number is wanted, not yes"),
        ("eval.fars=[1e-3,yes]", "a number is wanted, not yes"),
        ("plan.order=yes", "interleaved"),
        ("train.optimizer.lr=off", "a number is wanted, not no"),
        ("data.train_splits=[0]", 'needs quotes to be a text: "0"'),
        ("data.train_splits=[no]", 'needs quotes to be a text: "0"'),
        ("plan.order=shuffled", "plan.order=shuffled"),
        ("train.optimizer.lr=-1", "train.optimizer.lr=-1"),
        ("plan", "section.key=value"),
        ("=3", "section.key=value"),
        ("plan=3", "plan=3"),
        ("train.loss_args.multi_similarity=3", "multi_similarity=3"),
        ("seed=${nothing}", "nothing"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path: Path, override: str, named: str) -> None:
    path = tmp_path / "subspace.yaml"
    write_config(path, parse_config({"manifest": "a"}, [], "test"))
    with pytest.raises(InputError) as error:
        load_config(path, [override])
    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("plan.P: 16", "unknown setting 'plan.P' .*; write it as plan: {P: ...}"),
        ("train.optimizer.lr: 1", "; write it as train: {optimizer: {lr: ...}}"),
    ],
)
def test_dots_in_a_file_are_said_to_be_sections(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "subspace.yaml"
    path.write_text(f"manifest: m\n{line}\n")
    with pytest.raises(InputError, match=said):
        load_config(path)
    path.write_text(
        "manifest: m\nplan: {P: 16}\nseed: 0\nrounds: 10\ndata: {train_splits: ['007', '8:00']}\n"
    )
    assert load_config(path).data.train_splits == ("007", "8:00")


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "\x00", "just words", ""])
def test_broken_files(tmp_path: Path, text: str) -> None:
    path = tmp_path / "subspace.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        load_config(path)
    assert "\n" not in str(error.value)


def test_off_is_a_word_on_the_command_line_though_yaml_reads_false(tmp_path: Path) -> None:
    path = tmp_path / "subspace.yaml"
    path.write_text("manifest: m.parquet\ntrain: {collapse: {action: off}}\n")
    assert load_config(path).train.collapse.action == "off"
    assert load_config(path, ["train.collapse.action=off"]).train.collapse.action == "off"
    assert load_config(path, ["train.collapse.action=warn"]).train.collapse.action == "warn"
