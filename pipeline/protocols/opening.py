"""What `subspace eval --protocol` is given: a run, a checkpoint, or a file of embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...mining.errors import InputError
from ...train.checkpoint_meta import META
from ..configuration.config import RunConfig
from ..configuration.config_file import load_config, parse_config
from ..configuration.overrides import kept_overrides, taken_back
from ..options import Options
from ..run_directory import RunDirectory
from .evaluated_images import EvaluatedImages

TABLES = (".parquet", ".npy")


def open_images(
    path: Path,
    overrides: Sequence[str],
    options: Options,
    *,
    manifest: Path | None,
    flip: bool,
    allow_code: bool,
) -> EvaluatedImages:
    """Open what was named, and say what it is.

    Raises:
        InputError: none of the three, or an option that does not go with it.
    """
    if path.suffix.lower() in TABLES or path.is_file():
        return _open_table(path, overrides, options, manifest, flip)
    from ..exporting.chosen_checkpoint import choose_checkpoint

    chosen = choose_checkpoint(path)
    given = [*overrides, *(["eval.flip=true"] if flip else [])]
    run = RunDirectory(path)
    if run.config.is_file():
        back = taken_back(given)
        own = [word for word in given if word not in back]
        config = load_config(run.config, [*kept_overrides(run, given), *own])
        allow_code = allow_code or (config.allow_code and not (path / META).is_file())
    else:
        settings = chosen.meta.config or {"manifest": str(manifest or "")}
        config = parse_config(settings, given, where=f"{chosen.folder}/meta.json")
    options.console.say(f"evaluating {chosen.folder} ({chosen.why})")
    from .network_images import NetworkImages

    return NetworkImages(chosen, config, options, given=manifest, allow_code=allow_code)


def _open_table(
    path: Path, overrides: Sequence[str], options: Options, manifest: Path | None, flip: bool
) -> EvaluatedImages:
    for given, option in ((manifest is not None, "--manifest"), (flip, "--flip")):
        if given:
            raise InputError(
                f"{option} goes with a RUN or a CHECKPOINT; the embeddings in {path} are made already"
            )
    from ...mining.embedding_table import EmbeddingTable
    from .table_images import TableImages

    config: RunConfig = parse_config({"manifest": str(path)}, overrides, where="the command line")
    return TableImages(EmbeddingTable.open(path), config, options)
