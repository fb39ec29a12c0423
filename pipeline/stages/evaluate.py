"""`subspace eval`: the metrics that `eval.metrics` names, of a network on held-out identities. `examination.py` does it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from ...mining.artifacts import write_json
from ...mining.evaluation.pairs import FEW_IDENTITIES
from ...mining.evaluation.registry import is_retrieval
from ...mining.parquet_tables import write_parquet
from ...mining.schemas import BOX, MISTAKES
from .. import stage_folder as files
from ..console import aligned, counted
from ..estimates.estimate import Estimate
from ..network_identity import open_checkpoint
from ..round_chain import current_rounds
from ..run_directory import RunDirectory
from ..stage_folder import TENSORBOARD
from .context import Context
from .graph import row, steps_taken
from .held_out import FLAGS, HeldOut
from .stage import run_stage

ABOVE = " > "
THRESHOLD_WORDS = (
    "> 0.500: the threshold of that rate; two images with a cosine above it are taken for one identity"
)
UNREADABLE = "unreadable_images"
"""Under which evaluation.json and the marker count the images that were left out."""


def validate_fields(context: Context) -> dict[str, Any]:
    """What a validation depends on, besides the network and the manifest."""
    return _fields(context, HeldOut.validation(context.config))


def eval_fields(context: Context) -> dict[str, Any]:
    """What an evaluation depends on, besides the network and the manifest."""
    return _fields(context, HeldOut.test(context.config))


def _fields(context: Context, held: HeldOut) -> dict[str, Any]:
    extract = context.config.extract
    return {
        **held.fields,
        **({"manifest flags": FLAGS} if held.has_flags_in(context.manifest) else {}),
        **({"manifest boxes": "images"} if BOX[0] in context.manifest.columns else {}),
        "extract.batch_size": extract.batch_size,
        "extract.precision": extract.precision,
    }


def validate_applies(context: Context) -> bool:
    """Whether the manifest has validation identities with pairs."""
    return HeldOut.validation(context.config).problem(context.manifest) is None


def eval_applies(context: Context) -> bool:
    """Whether the manifest has test identities."""
    return HeldOut.test(context.config).is_in(context.manifest)


def validate_network(context: Context) -> dict[str, Any]:
    """Examine the network of a round (-1: the starting one) on the validation identities."""
    return _examine(context, HeldOut.validation(context.config))


def evaluate_network(context: Context) -> dict[str, Any]:
    """Examine the network of a round (-1: the starting one) on the test identities."""
    return _examine(context, HeldOut.test(context.config))


def _examine(context: Context, held: HeldOut) -> dict[str, Any]:
    stage, config = row(held.stage).stage(context), context.config

    def estimate() -> Estimate:
        from .examination import cost_of_examination

        network = open_checkpoint(stage.folder.checkpoint, config)
        mistakes = files.MISTAKES in stage.outputs
        return cost_of_examination(
            network, config, context.manifest, context.options, held, mistakes=mistakes
        )

    def work() -> dict[str, Any]:
        from .examination import examine

        network = open_checkpoint(stage.folder.checkpoint, config)
        mistakes: list[pa.Table] = []
        metrics = examine(
            network,
            config,
            context.manifest,
            context.options,
            held,
            seen_by=_projected(context, held.stage),
            on_mistakes=mistakes.append if files.MISTAKES in stage.outputs else None,
        )
        context.say(f"{stage.label}: {basis(metrics)}")
        for table in mistakes:
            write_parquet(stage.folder.mistakes, MISTAKES, table, stage.fingerprint)
        write_json(stage.folder.file(stage.outputs[0]), {"fingerprint": stage.fingerprint, **metrics})
        bad = metrics[UNREADABLE]
        return {name: values["value"] for name, values in metrics["metrics"].items()} | {UNREADABLE: bad}

    marker = run_stage(stage, context.options, estimate, work)
    show_figures(context)
    return marker


def show_figures(context: Context) -> None:
    """Show trackers what is known of a round, or of the starting network."""
    from ..monitoring.round_figures import show_round
    from ..monitoring.training_curves import steps_of_start

    config, index = context.config, context.round_index
    if context.options.dry_run:
        return
    settings = config.model_dump(mode="json")
    ends = tuple(steps_of_start(settings) + steps_taken(context.run, at) for at in (index, index + 1))
    show_round(context.run, context.folder, (ends[0], ends[1]), config.train.trackers, settings, context.say)


def _projected(context: Context, stage: str) -> Callable[[np.ndarray, np.ndarray], None] | None:
    """What writes embeddings and image ids for TensorBoard's projector; None where nobody looks at it."""
    if stage != "validate" or "tensorboard" not in context.config.train.trackers:
        return None
    from ..monitoring.mean_projector import write_projector

    return partial(
        write_projector,
        context.run.tracked / TENSORBOARD,
        manifest=context.manifest,
        seed=context.config.seed,
        name=context.folder.name,
    )


def evaluations(run: RunDirectory, rounds: int | None = None) -> dict[str, dict[str, Any]]:
    """The evaluation of the start and of each current round (of the first `rounds`) that has one, by folder name."""
    folders = [run.round(index) for index in (-1, *current_rounds(run)[:rounds])]
    return {folder.name: folder.examined("eval") for folder in folders if folder.evaluation.exists()}


def evaluation_table(named: dict[str, dict[str, Any]]) -> str:
    """Networks down, metrics across; each value in percent with its 95 % interval, and below what all of it rests on.

    A rate of pairs has its threshold beside it. Where images were unreadable, and so left out, a last column says of how many.
    """
    metrics = list(dict.fromkeys(metric for found in named.values() for metric in found["metrics"]))
    incomplete = any(evaluation.get(UNREADABLE) for evaluation in named.values())
    rows = [["network", *metrics, *(["unreadable images"] if incomplete else [])]]
    for name, evaluation in named.items():
        bad = [f"{evaluation.get(UNREADABLE, 0):,}"] if incomplete else []
        rows.append([name, *(_cell(evaluation["metrics"].get(metric)) for metric in metrics), *bad])
    bases = {name: basis(evaluation) for name, evaluation in named.items()}
    below = [f"{name}: {words}" for name, words in bases.items()]
    if len(set(bases.values())) == 1:
        below = [next(iter(bases.values()))]
    if any(ABOVE in cell for row in rows for cell in row):
        below.insert(0, THRESHOLD_WORDS)
    return "\n".join([aligned(rows), *below])


def _cell(metric: dict[str, float | None] | None) -> str:
    """A value in percent, and beside it the cosine that it is of."""
    threshold = None if metric is None else metric.get("threshold")
    return in_percent(metric) + ("" if threshold is None else f"{ABOVE}{threshold:.3f}")


def basis(evaluation: dict[str, Any]) -> str:
    """What the figures of an evaluation rest on, in words.

    >>> basis({"identities": 9, "probes": 12, "genuine_pairs": 12, "impostor_pairs": 96, "unpaired_identities": 2})
    'on 9 identities, 12 probes, 12 genuine and 96 impostor pairs; 2 identities without a pair are distractors only; \
few identities: one moves a share by 11 points, and intervals are too narrow'
    """
    identities, unpaired = evaluation["identities"], evaluation.get("unpaired_identities", 0)
    asked, ranked = evaluation.get("metrics", {}), evaluation.get("retrieval")
    if ranked and all(map(is_retrieval, asked)):
        return _ranked_in_words(ranked)
    words = [
        f"on {counted(identities, 'identity', 'identities')}, {counted(evaluation['probes'], 'probe')}, "
        f"{evaluation['genuine_pairs']:,} genuine and {evaluation['impostor_pairs']:,} impostor pairs"
    ]
    if unpaired:
        words.append(f"{counted(unpaired, 'identity', 'identities')} without a pair are distractors only")
    if identities < FEW_IDENTITIES:
        words.append(
            f"few identities: one moves a share by {100 / identities:.0f} points, and intervals are too narrow"
        )
    if "flags" in evaluation:
        words.append(evaluation["flags"])
    if ranked:
        words.append(f"retrieval {_ranked_in_words(ranked)}")
    return "; ".join(words)


def _ranked_in_words(ranked: dict[str, Any]) -> str:
    words = (
        f"on {counted(ranked['identities'], 'identity', 'identities')}, {counted(ranked['queries'], 'query', 'queries')} and "
        f"{counted(ranked['gallery'], 'gallery image')}: {ranked['rule']}"
    )
    if ranked["unmatched"]:
        words += f"; {counted(ranked['unmatched'], 'query', 'queries')} without a match left out"
    if ranked["identities"] < FEW_IDENTITIES:
        words += f"; few identities: one moves a share by {100 / ranked['identities']:.0f} points"
    return words


def in_percent(metric: dict[str, float | None] | None) -> str:
    """`value [low, high]` in percent; a dash where there were too few pairs to say, or where it was not asked for."""
    if metric is None or metric["value"] is None or metric["low"] is None or metric["high"] is None:
        return "-"
    return f"{100 * metric['value']:.1f} [{100 * metric['low']:.1f}, {100 * metric['high']:.1f}]"
