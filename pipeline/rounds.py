"""`subspace run`: every stage, round after round. Each stage that is done is passed over, so it resumes anywhere.

A round is validated before anything else is decided: whether it is the best, and whether another follows. The test
identities are evaluated after that, and nothing depends on them.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from ..mining.errors import InputError
from ..mining.manifest import Manifest
from ..train.monitoring.open_trackers import check_trackers
from .best import Standing, metric_is_known
from .config import RunConfig
from .extract_ahead import extracting_ahead
from .run_directory import RunDirectory
from .stages.cluster import cluster
from .stages.evaluate import evaluate, evaluation_table, evaluations
from .stages.extract import extract
from .stages.held_out import HeldOut
from .stages.plan import plan
from .stages.pretrain import pretrain, pretrain_identities
from .stages.stage import Options, steps_taken
from .stages.train import train


def run_rounds(run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options) -> dict[str, Any]:
    """Start network, then extract, cluster, plan, train, validate and evaluate, until all steps are done.

    That is `config.rounds` times, or more often where stale subspaces end rounds early, or fewer times where
    validation gains no more (`config.early_stop`).

    Raises:
        StaleArtifactError: a finished stage was made with other settings or inputs.
        StoppedEarly: a signal came; the same call continues.
    """
    rounds = check_run(run, config, manifest, options)
    if options.dry_run:
        _describe(config, manifest, options)
        return {"dry_run": True}
    pretrain(run, config, manifest, options)
    index, more = 0, rounds.examine(0)
    while more:
        extract(run, config, manifest, options, round_index=index)
        cluster(run, config, options, round_index=index)
        plan(run, config, manifest, options, round_index=index)
        train(run, config, manifest, options, round_index=index)
        index += 1
        more = rounds.examine(index)
    rounds.end(index)
    older = [run.round(left).name for left in run.rounds[index:]]
    if older:
        options.console.say(f"{', '.join(older)}: of an earlier, longer run; not counted here")
    results = evaluations(run, index)
    if results:
        options.console.say("\n" + evaluation_table(results))
    return results


def check_run(run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options) -> _Rounds:
    """Say what is not examined, and refuse now what would be wrong hours later.

    Raises:
        InputError: a tracker or metric that is not there, or fewer identities than a batch holds.
    """
    check_trackers((*config.pretrain.trackers, *config.train.trackers))
    train = manifest.identities_in(config.data.train_splits)
    drawn = int((train.count > 1).sum()) if config.plan.singletons == "drop" else len(train)
    if drawn < config.plan.P:
        raise InputError(f"plan.P={config.plan.P} identities in a batch, but only {drawn} to draw from")
    rounds = _Rounds(run, config, manifest, options)
    rounds.check()
    return rounds


def evaluate_rounds(
    run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options
) -> dict[str, Any]:
    """Validate and evaluate every network that the run has, as `run_rounds` would have, and keep the best.

    Raises:
        InputError: there is no network yet, or nobody to test it on.
    """
    if not (run.start / "done" / "pretrain.json").exists():
        raise InputError(f"{run.path} has no network yet; run `subspace pretrain {run.path}` first")
    validation, test = HeldOut.validation(config), HeldOut.test(config)
    validated, tested = validation.problem(manifest) is None, test.is_in(manifest)
    if tested or not validated:
        test.choose_images(manifest)
    examined_on = [held for held, there in ((validation, validated), (test, tested)) if there]
    trained = [index for index in run.rounds if (run.round(index) / "done" / "train.json").exists()]
    for index in (-1, *trained):
        for held in examined_on:
            evaluate(run, config, manifest, options, round_index=index, held=held)
    if validated and not options.dry_run:
        counted = [index for index in trained if steps_taken(run, index) < config.total_steps]
        folders = [run.start, *map(run.round, counted)]
        Standing.read(folders, config.early_stop).keep(run)
    return evaluations(run)


class _Rounds:
    """What is held out to examine the network of each round, and what follows from it."""

    def __init__(self, run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options) -> None:
        self.run, self.config, self.manifest, self.options = run, config, manifest, options
        self.validation, self.test = HeldOut.validation(config), HeldOut.test(config)
        self.problem = self.validation.problem(manifest)
        self.tested = self.test.is_in(manifest)

    def check(self) -> None:
        """Say what is not examined, and refuse now what would be wrong hours later."""
        say = self.options.console.say
        if self.problem is None:
            metric_is_known(self.config.early_stop, list(self.config.validation.metric_names))
        else:
            say(
                f"no validation, so no best round and no early stop: {self.problem}; `subspace ingest "
                f"--val-fraction 0.05` holds some identities out"
            )
        if self.tested:
            self.test.choose_images(self.manifest)
        else:
            say(f"no images in data.test_splits={','.join(self.test.splits)}: nothing is evaluated")

    def examine(self, rounds: int) -> bool:
        """Validate and evaluate the network after so many rounds; return whether another round follows."""
        at: dict[str, Any] = {"round_index": rounds - 1}
        more = steps_taken(self.run, rounds) < self.config.total_steps
        if self.problem is None:
            evaluate(self.run, self.config, self.manifest, self.options, **at, held=self.validation)
            standing = self._standing(rounds)
            if not standing.is_known(self.run):
                standing.keep(self.run)
            more = more and not self.config.early_stop.stops_after(list(standing.value.values()))
        if self.tested:
            made = (self.run.network(rounds) / "done" / "eval.json").exists()
            with (
                extracting_ahead(self.run, self.config, self.options, round_index=rounds)
                if more and not made
                else nullcontext()
            ):
                evaluate(self.run, self.config, self.manifest, self.options, **at)
        return more

    def end(self, rounds: int) -> None:
        """Keep the best of this many rounds, and say which it is and whether there could have been more."""
        if self.problem is not None:
            return
        standing, early = self._standing(rounds), self.config.early_stop
        standing.keep(self.run)
        say, best = self.options.console.say, standing.best
        if steps_taken(self.run, rounds) < self.config.total_steps:
            say(
                f"stopped early after {rounds} of {self.config.rounds} round(s): no gain of {early.metric} on the "
                f"validation identities in {early.patience} (early_stop.patience; with a larger one it continues)"
            )
        told = ", ".join(f"{name} {100 * value:.1f}" for name, value in standing.value.items())
        say(f"best of {early.metric} on the validation identities: {best} ({told}); {self.run.path}/best")

    def _standing(self, rounds: int) -> Standing:
        folders = [self.run.network(index) for index in range(rounds + 1)]
        return Standing.read(folders, self.config.early_stop)


def _describe(config: RunConfig, manifest: Manifest, options: Options) -> None:
    """What a run would do."""
    train = manifest.identities_in(config.data.train_splits)
    subspaces = config.cluster.ids_per_subspace
    limit = config.extract.max_images
    embedded = len(train.image_id) if limit is None else int(np.minimum(train.count, limit).sum())
    per_round = config.plan.steps * config.plan.P * config.plan.K
    start = f"start: {config.model}, as it is"
    if config.pretrain.steps:
        identities = len(pretrain_identities(config, manifest))
        start = f"start: {config.model}, {config.pretrain.steps:,} steps of {config.pretrain.loss} on {identities:,} identities"
    for line in (
        start,
        f"{config.rounds} round(s), each:",
        f"  extract  {embedded:,} images of {len(train):,} identities",
        f"  cluster  into {1 if subspaces == 'all' else max(1, round(len(train) / subspaces)):,} subspace(s)",
        f"  plan     {config.plan.steps:,} batches of {config.plan.P} × {config.plan.K}, group size {config.plan.draw.group_size}",
        f"  train    on {per_round:,} images, {per_round / max(1, len(train.image_id)):,.1f} times the training set",
        f"  validate on {len(manifest.identities_in(config.data.val_splits)):,} identities",
        f"  eval     on {len(manifest.identities_in(config.data.test_splits)):,} identities",
        "dry run: nothing was written",
    ):
        options.console.say(line)
