"""`subspace extract`: manifest and network to identity means, in parts that resume and shard.

A part is a run of consecutive identities; it appears whole in `identities.parts/`. Any number of shards may
work at once; the command without `--shard` makes what is missing, with `--processes` in several processes, and
merges all into `identities.parquet`. `extraction.py` does it.
"""

from __future__ import annotations

import shutil
from functools import cache
from typing import Any

from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from .context import Context
from .graph import row
from .parts import ExtractParts, Shard, begun_by
from .stage import flat_fields, run_stage


def extract_fields(context: Context) -> dict[str, Any]:
    """What the means depend on, besides the manifest and the network."""
    config, fields = context.config, {}
    if _are_running_means(context):
        fields["recluster.refresh"] = "running"
    if config.extract.max_images is not None:
        fields["seed"] = config.seed
    # runs made before there was such a setting keep their fingerprints
    unset = () if config.extract.flip else ("flip",)
    return {
        **fields,
        **context.left_out.fields,
        "data.train_splits": list(config.data.train_splits),
        "data.on_bad_image": config.data.on_bad_image,
        **flat_fields("extract", config.extract.model_dump(), without=("num_workers", *unset)),
    }


def extract_parts(context: Context) -> ExtractParts | None:
    """The parts of a round's extraction; None where the means come from the training before.

    While its network is not there, none of them counts as finished.
    """
    if _are_running_means(context):
        return None
    known = context.before.finished("train" if context.round_index else "pretrain")
    fingerprint = row("extract").stage(context).fingerprint if known else ""
    identities = context.training_identities()
    return ExtractParts(context.folder, identities, context.config.extract, fingerprint)


def extract_means(context: Context, *, shard: Shard | None = None) -> dict[str, Any]:
    """Embed the images of the training identities and write their means.

    Raises:
        InputError: a shard of what cannot be sharded, or together with an option for the whole.
    """
    options = context.options
    if shard is not None and (options.force or not options.resume):
        words = " ".join(map(in_shell, (context.run.path, *options.overrides)))
        raise InputError(
            f"--force and --no-resume with --shard would drop the parts of other shards; `subspace submit {words} --force` makes "
            f"what is stale again, in shards; for shards of your own first remove {context.folder.marker('extract')} and "
            f"{context.folder.identity_parts}"
        )
    if shard is not None and options.processes > 1:
        raise InputError(
            f"--processes {options.processes} makes all parts here, --shard {shard.index} only some of them; leave one "
            "of the two out"
        )
    stage = row("extract").stage(context)
    if _are_running_means(context):
        from .refresh import refresh_means

        if shard is not None:
            raise InputError("recluster.refresh=running embeds no images, so there is nothing to shard")
        return refresh_means(context, stage)

    @cache
    def extraction():
        from .extraction import Extraction

        return Extraction(context, stage)

    def estimate():
        if not stage.begins_anew(options) and not options.remake_stale:
            begun_by(stage).refuse_others()  # before the network is opened
        estimated = extraction().estimate(shard)
        if shard is not None and not options.dry_run:
            extraction().begin()  # before its settings are kept for the run, which those of two shards would not both be
        return estimated

    marker = run_stage(stage, options, estimate, lambda: extraction().work(shard))
    if stage.marker.exists() and shard is None and not options.dry_run:
        shutil.rmtree(context.folder.identity_parts, ignore_errors=True)
    return marker


def _are_running_means(context: Context) -> bool:
    """Whether the means of this round were gathered in the training of the round before."""
    return context.round_index > 0 and context.config.recluster.refresh == "running"
