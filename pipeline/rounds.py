"""`subspace run`: every stage, round after round. Each stage that is done is passed over, so it resumes anywhere.

A round is validated before anything else is decided: whether it is the best, and whether another follows. The test
identities are evaluated after that, and nothing depends on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..mining.clustering.settings import subspace_count
from ..mining.errors import InputError, StaleArtifactError
from ..mining.local_paths import in_shell
from ..mining.manifest import IdentityImages
from ..train.losses.building import NewClasses, try_own_losses
from ..train.monitoring.open_trackers import check_trackers
from .best import Standing, metric_is_known
from .configuration.config import RunConfig
from .console import about, counted, duration
from .due import over_before
from .exporting.trained_on import refuse_changed
from .network_identity import refuse_frozen
from .round_chain import current_rounds, left_over, left_over_in_words
from .stages.context import Context
from .stages.evaluate import evaluation_table, evaluations
from .stages.graph import row, rows_of, steps_taken
from .stages.held_out import HeldOut
from .stages.plan import refuse_unpaired_plan
from .stages.pretrain import pretrain_identities
from .status import StageStatus, stage_statuses

SOME = 12
"""Stages that a dry run names."""


def run_rounds(context: Context) -> dict[str, Any]:
    """Do every stage: those of the starting network, then round after round, until all steps are done.

    That is `config.rounds` rounds, or more where stale subspaces end rounds early, or fewer where validation gains no
    more (`config.early_stop`).

    >>> from subspace.pipeline import Context
    >>> run_rounds(Context.open("runs/photos", ["rounds=3"]))  # after `subspace init runs/photos`
    Traceback (most recent call last):
    subspace.mining.errors.InputError: runs/photos is not a run (no subspace.yaml); make one with `subspace init runs/photos`

    Returns:
        The evaluations by folder name, as evaluation.json holds them.

    Raises:
        StaleArtifactError: a finished stage was made with other settings or inputs.
        StoppedEarly: a signal came; the same call continues.
    """
    rounds = check_run(context)
    if context.options.dry_run:
        _describe(context)
        return {"dry_run": True}
    if context.options.processes > 1:
        from .stages.training_processes import refuse_shared_gpus

        refuse_shared_gpus(context.options.processes, context.options.device)
    for stage in rows_of("start"):
        stage.do(context.at_round(-1))
    index, more = 0, rounds.examine(0)
    while more:
        for stage in rows_of("round"):
            stage.do(context.at_round(index))
        index += 1
        more = rounds.examine(index)
        if more and not context.run.round(index).finished("train"):
            context.say(_left_in_words(context, index))
    rounds.end(index)
    older = [context.run.round(left).name for left in context.run.rounds[index:]]
    if older:
        context.say(f"{', '.join(older)}: of an earlier, longer run; not counted here")
    results = evaluations(context.run, index)
    if results:
        context.options.console.say_lines("\n" + evaluation_table(results))
    return results


def _left_in_words(context: Context, done: int) -> str:
    """What the rounds after the first `done` will take, as long as the last one of these each."""
    folder, config = context.run.round(done - 1), context.config
    took = sum(
        folder.record(stage.name)["seconds"]
        for stage in (*rows_of("round"), *rows_of("network"))
        if folder.finished(stage.name)
    )
    rounds = math.ceil((config.total_steps - steps_taken(context.run, done)) / config.plan.steps)
    return f"{folder.name} took {duration(took)}: the {counted(rounds, 'round')} that may follow, {about(rounds * took)}"


def check_run(context: Context) -> _Rounds:
    """Say what is not examined, and refuse now what would be wrong hours later.

    Raises:
        InputError: a network that does not train, a tracker, a metric, kornia, or a loss or an augmentation of one's own that is
            not there or cannot be built, or fewer identities than a batch holds.
    """
    config = context.config
    refuse_frozen(config.model)
    _try_own_code(config)
    check_trackers((*config.pretrain.trackers, *config.train.trackers))
    check_identities(config, context.training_identities())
    rounds = _Rounds(context)
    rounds.check()
    return rounds


def _try_own_code(config: RunConfig) -> None:
    """Build what the run takes from elsewhere: losses, of a few classes, and augmentations; without any, no torch is imported."""
    few = NewClasses(num_classes=64, embedding_size=config.embedding_size or 64, seed=config.seed)
    try_own_losses(config.train.loss, config.train.loss_args, few)
    augmentations = [config.train.augment]
    if config.pretrain.steps:
        try_own_losses(config.pretrain.loss, config.pretrain.loss_args, few, "pretrain.loss")
        augmentations.append(config.pretrain.augment)
    for augment in augmentations:
        if not augment.on_device:
            continue
        import torch

        from ..train.augmented_batches import ImageChanges

        ImageChanges(augment, (config.seed,), torch.device("cpu"))


def check_identities(config: RunConfig, train: IdentityImages) -> None:
    """Refuse batches of more identities than there are in `train`, or without any pair to learn from.

    Raises:
        InputError: there are fewer, or all have one image.
    """
    refuse_unpaired_plan(config, train.count)
    drawn = int((train.count > 1).sum()) if config.plan.singletons == "drop" else len(train)
    if drawn < config.plan.P:
        raise InputError(f"plan.P={config.plan.P} identities in a batch, but only {drawn} to draw from")


def evaluate_rounds(context: Context) -> dict[str, Any]:
    """Validate and evaluate every network that the run has, as `run_rounds` would have, and keep the best.

    Raises:
        InputError: there is no network yet, or no identities to test it on.
        StaleArtifactError: the manifest has changed since a network was trained.
    """
    run, config = context.run, context.config
    if not run.start.finished("pretrain"):
        raise InputError(f"{run.path} has no network yet; run `subspace pretrain {in_shell(run.path)}` first")
    examined = [stage for stage in rows_of("network") if stage.applies(context)]
    validated, tested = (row(name) in examined for name in ("validate", "eval"))
    if tested or not validated:
        HeldOut.test(config).choose_images(context.manifest)
    trained = [index for index in current_rounds(run) if run.round(index).finished("train")]
    for index in (-1, *trained):
        refuse_changed(run.round(index), context.manifest)
    for index in (-1, *trained):
        for stage in examined:
            stage.do(context.at_round(index))
    if validated and not context.options.dry_run:
        counted = [index for index in trained if steps_taken(run, index) < config.total_steps]
        Standing.read([run.round(index) for index in (-1, *counted)], config.early_stop).keep(run)
    if older := left_over(run):
        context.say(left_over_in_words(older))
    return evaluations(run)


class _Rounds:
    """What is held out to examine the network of each round, and what follows from it."""

    def __init__(self, context: Context) -> None:
        self.context, self.run, self.config = context, context.run, context.config
        self.validation, self.test = HeldOut.validation(self.config), HeldOut.test(self.config)
        self.problem = self.validation.problem(context.manifest)
        self.examined = [stage for stage in rows_of("network") if stage.applies(context)]

    def check(self) -> None:
        """Say what is not examined, and refuse now what would be wrong hours later."""
        say = self.context.say
        if self.problem is None:
            metric_is_known(self.config.early_stop, list(self.config.validation.metric_names))
        else:
            patience = self.config.early_stop.patience
            if patience is not None:
                raise InputError(
                    f"early_stop.patience={patience} has nothing to go by: {self.problem}; hold some identities out "
                    "(`subspace ingest --val-fraction 0.05`), or set early_stop.patience=null"
                )
            say(
                f"no validation, so no best round and no early stop: {self.problem}; `subspace ingest "
                f"--val-fraction 0.05` holds some identities out"
            )
        if row("eval") in self.examined:
            self.test.choose_images(self.context.manifest)
        else:
            say(f"no images in data.test_splits={','.join(self.test.splits)}: nothing is evaluated")

    def examine(self, rounds: int) -> bool:
        """Validate and evaluate the network after so many rounds; return whether another round follows."""
        context = self.context.at_round(rounds - 1)
        more = steps_taken(self.run, rounds) < self.config.total_steps
        for stage in self.examined:
            stage.do(context)
            if stage.name == "validate":
                more = self._keep_best(rounds) and more
        return more

    def _keep_best(self, rounds: int) -> bool:
        """Keep the best network so far; return whether validation says go on."""
        standing = self._standing(rounds)
        if not standing.is_known(self.run):
            standing.keep(self.run)
        return not self.config.early_stop.stops_after(list(standing.value.values()))

    def end(self, rounds: int) -> None:
        """Keep the best of this many rounds, and say which it is and whether there could have been more."""
        if self.problem is not None:
            return
        standing, early = self._standing(rounds), self.config.early_stop
        standing.keep(self.run)
        say, best = self.context.say, standing.best
        if steps_taken(self.run, rounds) < self.config.total_steps:
            say(
                f"stopped early after {rounds} of {counted(self.config.rounds, 'round')}: no gain of {early.metric} on the "
                f"validation identities in {early.patience} (early_stop.patience; with a larger one it continues)"
            )
        values = ", ".join(f"{name} {100 * value:.1f}" for name, value in standing.value.items())
        say(f"best of {early.metric} on the validation identities: {best} ({values}); {self.run.best}")
        if standing.doubt:
            say(standing.doubt)

    def _standing(self, rounds: int) -> Standing:
        folders = [self.run.network(index) for index in range(rounds + 1)]
        return Standing.read(folders, self.config.early_stop)


def _describe(context: Context) -> None:
    """What a run would do, and what of it is done.

    Raises:
        StaleArtifactError: as the run would: a finished stage was made with other settings or inputs.
    """
    statuses = [
        one
        for one in stage_statuses(context)
        if over_before(context.at_round(max(0, context.run.index_of(one.folder)))) is None
    ]
    stale, options = [one for one in statuses if one.state == "stale"], context.options
    for one in [] if options.remake_stale else stale:
        finished = context.run.round(context.run.index_of(one.folder)).finished(one.stage)
        if finished or options.resume:  # without, what is begun is dropped
            raise StaleArtifactError(one.advice, change=one.note)
    left = [one for one in statuses if one.state not in ("done", "unchecked")]
    if left:
        _describe_rounds(context)
    if len(left) < len(statuses):
        context.say(f"done: {len(statuses) - len(left)} of {counted(len(statuses), 'stage')}")
        context.say(f"left: {_named(left) or 'nothing'}")
    if stale:
        context.say(f"stale, so made again with all that is made of it: {_named(stale)}")
    context.say("dry run: nothing was written")


def _named(stages: Sequence[StageStatus]) -> str:
    """Their names, of many the first."""
    names = [f"{one.folder}/{one.stage}" for one in stages]
    more = f" and {len(names) - SOME:,} more" if len(names) > SOME else ""
    return ", ".join(names[:SOME]) + more


def _describe_rounds(context: Context) -> None:
    """The start, and what each round would be."""
    config, manifest = context.config, context.manifest
    train = context.training_identities()
    subspaces = subspace_count(len(train), config.cluster.ids_per_subspace)
    limit = config.extract.max_images
    embedded = len(train.image_id) if limit is None else int(np.minimum(train.count, limit).sum())
    per_round = config.plan.steps * config.plan.P * config.plan.K
    start = f"start: {config.model}, as it is"
    if config.pretrain.steps:
        identities = len(pretrain_identities(config, manifest))
        start = f"start: {config.model}, {config.pretrain.steps:,} steps of {config.pretrain.loss} on {identities:,} identities"
    for line in (
        start,
        f"{counted(config.rounds, 'round')}, each:",
        f"  extract  {embedded:,} images of {len(train):,} identities{context.left_out.words}",
        f"  cluster  into {counted(subspaces, 'subspace')}",
        f"  plan     {config.plan.steps:,} batches of {config.plan.P} × {config.plan.K}, group size {config.plan.draw.group_size}",
        f"  train    on {per_round:,} images, {per_round / max(1, len(train.image_id)):,.1f} times the training set",
        f"  validate on {len(manifest.identities_in(config.data.val_splits)):,} identities",
        f"  eval     on {len(manifest.identities_in(config.data.test_splits)):,} identities",
    ):
        context.say(line)
