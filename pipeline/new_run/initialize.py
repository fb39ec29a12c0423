"""`subspace init`: a run folder with a commented `subspace.yaml` that suits the manifest."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ...mining.cleaning.keep_table import read_left_out
from ...mining.clustering.settings import subspace_count
from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from ...mining.manifest import Manifest
from ...train.checkpoint import load_network
from ...train.networks.registry import CHECKPOINT_PREFIX, file_of, kept_as
from ...train.optimizer_config import OptimizerConfig
from ..configuration.config import RunConfig
from ..configuration.config_file import check_overrides, parse_config, write_config
from ..configuration.overrides import FALLS_WITH, file_from_root, network_from_root, with_whole_paths
from ..console import counted
from ..exporting.trained_on import learned_by_start
from ..rounds import check_identities
from ..run_directory import RunDirectory
from ..schedulers.job_requests import check_requests
from ..stage_words import one_subspace_in_words
from ..stages.held_out import HeldOut
from .choices import Choice, choices_for, keys_of, settings_of, splits_in_words, unused_splits
from .known_recipes import Recipe, load_recipe
from .network_facts import NetworkFacts, examine_network

WHERE = "subspace init"


@dataclass(frozen=True)
class Initialized:
    """What was written, what was found and what was chosen."""

    path: Path
    config: RunConfig
    recipe: Recipe
    choices: list[Choice]
    network: NetworkFacts
    identities: int
    """How many there are in the training splits."""
    images: int
    validation: str
    """How many identities there are, or why there are none."""
    test: str
    warnings: list[str]

    @property
    def times_shown(self) -> float:
        """How often the run shows a training image, on average."""
        return self.config.total_steps * self.config.plan.P * self.config.plan.K / self.images

    def lines(self) -> list[str]:
        """For a person: facts, then one line for each changed setting, then what may go wrong."""
        config = self.config
        return [
            f"wrote {self.path}, recipe {self.recipe.name}",
            f"  training    {self.identities:,} identities, {self.images:,} images ({', '.join(config.data.train_splits)})",
            f"  validation  {self.validation}",
            f"  test        {self.test}",
            *(f"  {line}" for line in self.network.lines()),
            *([] if self.network.frozen else self._training()),
            *(f"  {choice}" for choice in self.choices),
            *(f"  warning: {warning}" for warning in self.warnings),
        ]

    def to_json(self) -> dict[str, Any]:
        """For a program."""
        return {
            "config": str(self.path),
            "recipe": self.recipe.name,
            "choices": [asdict(choice) for choice in self.choices],
            "network": asdict(self.network),
            "training": {
                "identities": self.identities,
                "images": self.images,
                "lr": self.config.train.optimizer.lr,
                "steps": self.config.total_steps,
                "times_shown": self.times_shown,
            },
            "validation": self.validation,
            "test": self.test,
            "warnings": self.warnings,
        }

    @property
    def next_command(self) -> str:
        """What comes after `subspace init`."""
        if self.network.frozen:
            run = shlex.quote(str(self.path.parent))
            return f"for stage in pretrain extract cluster plan eval; do subspace $stage {run} || break; done"
        return f"subspace run {in_shell(self.path.parent)}"

    def _training(self) -> list[str]:
        """Start, rate and steps."""
        config = self.config
        return [
            self._start(),
            *self._rate(),
            f"  steps       {counted(config.rounds, 'round')} of {config.plan.steps:,} batches of {config.plan.P * config.plan.K:,} images: "
            f"each training image about {self.times_shown:,.1f} times",
        ]

    def _start(self) -> str:
        pretrain = self.config.pretrain
        if not pretrain.steps:
            return "  start       the network as it is"
        return (
            f"  start       {pretrain.steps:,} batches of {pretrain.P * pretrain.K:,} images at most, {pretrain.loss} on the "
            f"identities of {', '.join(self.config.data.pretrain_splits)}, rate {pretrain.optimizer.lr:g}"
        )

    def _rate(self) -> list[str]:
        """The learning rate and where it is from, unless a choice says it."""
        optimizer, setting = self.config.train.optimizer, "train.optimizer.lr"
        if any(choice.setting == setting for choice in self.choices):
            return []
        origin = "given"
        if optimizer.lr == OptimizerConfig().lr:
            origin = f"the default; it was never searched for this network and optimizer: `subspace lr {in_shell(self.path.parent)}` does"
        return [f"  rate        {optimizer.lr:g} with {optimizer.name}: {origin}"]


def begin_run(
    run: RunDirectory,
    manifest_path: Path,
    model: str,
    overrides: Sequence[str],
    *,
    recipe: str = "default",
    weights: str | None = None,
    force: bool,
) -> Initialized:
    """Write `RUN/subspace.yaml`: the recipe, changed where data and network ask for it, and overrides on top.

    Raises:
        InputError: the run has settings already (and no `force`), or manifest, model, recipe or overrides are wrong.
    """
    _check_target(run, force)
    method = load_recipe(recipe)
    manifest = Manifest.open(manifest_path)
    basis = {"manifest": manifest.address, "model": model, "weights": weights}
    overrides = with_whole_paths(overrides)
    parse_config(basis, overrides, WHERE)  # says what is wrong with the overrides by themselves
    own = _nested(overrides)
    given = keys_of(own)
    changed = {key for key in given & {*FALLS_WITH} if _at(own, key) != _at(method.settings, key)}
    by_recipe = _without(method.settings, {fallen for key in changed for fallen in FALLS_WITH[key]})
    config = parse_config(_merged(basis, by_recipe), overrides, WHERE)

    check_requests(config.schedule)
    network = load_network(
        config.model,
        embedding_size=config.embedding_size,
        preprocess=config.preprocess,
        weights=config.weights,
        allow_code=config.allow_code,
    )
    choices = list(
        choices_for(
            config, given, keys_of(by_recipe), manifest, network.spec, as_it_is=_used_as_it_is(config)
        )
    )
    chosen = settings_of({choice.setting: choice.value for choice in choices})
    config = parse_config(_merged(basis, by_recipe, chosen), overrides, WHERE)
    config = config.model_copy(
        update={
            "manifest": Manifest(Path(config.manifest), None, "").address,
            "model": network_from_root(config.model),
            "weights": config.weights and file_from_root(config.weights),
            "data": config.data.model_copy(
                update={"cleaned": config.data.cleaned and file_from_root(config.data.cleaned)}
            ),
        }
    )
    without = (
        None if config.data.cleaned is None else read_left_out(Path(config.data.cleaned), manifest).image_id
    )
    images = manifest.identities_in(config.data.train_splits, without)
    check_identities(config, images)
    facts = examine_network(network, config)
    with run.locked("init"):
        _check_target(run, force)  # again: another command may just have made one
        write_config(run.config, config, method.lines())
        run.overrides.unlink(missing_ok=True)  # they were given to the settings before
    return Initialized(
        run.config,
        config,
        method,
        choices,
        facts,
        len(images),
        len(images.image_id),
        _examined(HeldOut.validation(config), manifest),
        _examined(HeldOut.test(config), manifest),
        [
            *facts.warnings,
            *learned_by_start(config, manifest),
            *_unused(config, manifest),
            *_short_runs(config),
            *_one_subspace(config, len(images)),
        ],
    )


def _check_target(run: RunDirectory, force: bool) -> None:
    if run.config.exists() and not force:
        raise InputError(f"{run.config} exists; change it with an editor, or write it anew with --force")


def _unused(config: RunConfig, manifest: Manifest) -> list[str]:
    """Splits that the settings leave aside."""
    unused = unused_splits(config, manifest)
    if not unused:
        return []
    return [
        f"splits that no setting uses: {splits_in_words(manifest, unused)} (data.train_splits and its neighbours name them)"
    ]


def _short_runs(config: RunConfig) -> list[str]:
    """Trainings that end before their learning rate has risen."""
    trainings = [("train", config.total_steps, config.train.optimizer.warmup_steps)]
    if config.pretrain.steps:
        trainings.append(("pretrain", config.pretrain.steps, config.pretrain.optimizer.warmup_steps))
    return [
        f"{name}.optimizer.warmup_steps={warmup} takes all {steps:,} steps: the learning rate never reaches its peak"
        for name, steps, warmup in trainings
        if warmup >= steps
    ]


def _one_subspace(config: RunConfig, identities: int) -> list[str]:
    """What the batches of a set as small as a subspace are."""
    n = config.cluster.ids_per_subspace
    if n == "all" or subspace_count(identities, n) > 1:
        return []
    return [f"one subspace holds all {identities:,} identities: {one_subspace_in_words(config.plan)}"]


def _examined(held: HeldOut, manifest: Manifest) -> str:
    problem = held.problem(manifest)
    if problem is not None:
        option = "--test-fraction" if held.stage == "eval" else "--val-fraction"
        return f"none: {problem}; `subspace ingest {option} 0.05` holds some out"
    gallery, _, distractors = held.choose_images(manifest)
    others = f"{len(distractors):,}" if len(distractors) else "no"
    return f"{len(gallery):,} identities ({', '.join(held.splits)}), {others} distractors"


def _nested(overrides: Sequence[str]) -> dict[str, Any]:
    check_overrides(overrides)
    return _container(OmegaConf.from_dotlist(list(overrides)))


def _at(nested: dict[str, Any], key: str) -> Any:
    return OmegaConf.select(OmegaConf.create(nested), key)


def _merged(*nested: dict[str, Any]) -> dict[str, Any]:
    return _container(OmegaConf.merge(*nested))


def _container(values: Any) -> dict[str, Any]:
    container = OmegaConf.to_container(values)
    assert isinstance(container, dict)  # as dot-lists and mappings are
    return {str(key): value for key, value in container.items()}


def _without(nested: dict[str, Any], dropped: set[str], prefix: str = "") -> dict[str, Any]:
    return {
        key: _without(value, dropped, f"{prefix}{key}.") if isinstance(value, dict) else value
        for key, value in nested.items()
        if f"{prefix}{key}" not in dropped
    }


def _used_as_it_is(config: RunConfig) -> str | None:
    """Why the network needs no classifier to begin with; None where its weights are drawn."""
    if config.model.startswith(CHECKPOINT_PREFIX):
        return "the checkpoint is trained already"
    if kept_as(config.model):
        return "the network is frozen"
    if config.weights is not None or file_of(config.model) is not None:
        return "the network begins with published weights"
    return None
