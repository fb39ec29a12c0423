"""`subspace run`: every stage, round after round. Each stage that is done is passed over, so it resumes anywhere."""

from __future__ import annotations

from typing import Any

from ..mining.errors import InputError
from ..mining.manifest import Manifest
from .cluster import cluster
from .config import RunConfig
from .evaluate import choose_images, evaluate, evaluation_table, evaluations
from .extract import extract
from .plan import plan
from .pretrain import pretrain, pretrain_identities
from .run_directory import RunDirectory
from .stage import Options, steps_taken
from .train_round import train


def run_rounds(run: RunDirectory, config: RunConfig, manifest: Manifest, options: Options) -> dict[str, Any]:
    """Start network, then extract, cluster, plan, train and evaluate, until all steps are done.

    That is `config.rounds` times, or more often where stale subspaces end rounds early.

    Raises:
        StaleArtifactError: a finished stage was made with other settings or inputs.
        StoppedEarly: a signal came; the same call continues.
    """
    tested = bool(manifest.in_splits(config.data.test_splits).any())
    if tested:
        choose_images(config, manifest)  # says now what would be wrong hours later
    else:
        options.console.say(
            f"no images in data.test_splits={','.join(config.data.test_splits)}: nothing is evaluated"
        )
    if options.dry_run:
        _describe(config, manifest, options)
        return {"dry_run": True}
    pretrain(run, config, manifest, options)
    if tested:
        evaluate(run, config, manifest, options, round_index=-1)
    index = 0
    while steps_taken(run, index) < config.total_steps:
        extract(run, config, manifest, options, round_index=index)
        cluster(run, config, options, round_index=index)
        plan(run, config, manifest, options, round_index=index)
        train(run, config, manifest, options, round_index=index)
        if tested:
            evaluate(run, config, manifest, options, round_index=index)
        index += 1
    older = [run.round(left).name for left in run.rounds[index:]]
    if older:
        options.console.say(f"{', '.join(older)}: of an earlier, longer run; not counted here")
    results = evaluations(run, index)
    if results:
        options.console.say("\n" + evaluation_table(results))
    return results


def _describe(config: RunConfig, manifest: Manifest, options: Options) -> None:
    """What a run would do; raises the errors that it would meet first."""
    train = manifest.identities_in(config.data.train_splits)
    drawn = int((train.count > 1).sum()) if config.plan.singletons == "drop" else len(train)
    if drawn < config.plan.P:
        raise InputError(f"plan.P={config.plan.P} identities in a batch, but only {drawn} to draw from")
    subspaces = config.cluster.ids_per_subspace
    per_round = config.plan.steps * config.plan.P * config.plan.K
    start = f"start: {config.model}, as it is"
    if config.pretrain.steps:
        identities = len(pretrain_identities(config, manifest))
        start = f"start: {config.model}, {config.pretrain.steps:,} steps of {config.pretrain.loss} on {identities:,} identities"
    for line in (
        start,
        f"{config.rounds} round(s), each:",
        f"  extract  {len(train.image_id):,} images of {len(train):,} identities",
        f"  cluster  into {1 if subspaces == 'all' else max(1, round(len(train) / subspaces)):,} subspace(s)",
        f"  plan     {config.plan.steps:,} batches of {config.plan.P} × {config.plan.K}, group size {config.plan.draw.group_size}",
        f"  train    on {per_round:,} images, {per_round / max(1, len(train.image_id)):,.1f} times the training set",
        f"  eval     on {len(manifest.identities_in(config.data.test_splits)):,} identities",
        "dry run: nothing was written",
    ):
        options.console.say(line)
