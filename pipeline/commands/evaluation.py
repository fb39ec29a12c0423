"""`subspace eval`: networks on the test identities, or anything that has embeddings by a protocol of the field."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .parameters import AllowCode, AsJson, Device, DryRun, Force, Overrides, Quiet, stoppable, working

commands = typer.Typer()


@commands.command(
    name="eval",
    epilog="Example: subspace eval runs/photos; subspace eval photos.parquet --protocol verification --threshold 0.4",
)
def evaluate(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CHECKPOINT|EMBEDDINGS",
            help="Run folder, a checkpoint in or outside one, or with --protocol a file of embeddings (.parquet, .npy).",
        ),
    ],
    overrides: Overrides = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="verification, pairs, identification, retrieval or templates; may be given several times. Without it: "
            "the metrics of `eval.metrics`, kept in the run."
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            help="One list of pairs: InsightFace .bin, LFW pairs.txt, .csv or .parquet; for several run it once for each."
        ),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the images that a list names.")] = None,
    templates: Annotated[
        list[Path] | None,
        typer.Option(help="List of templates, or of pairs of them; may be given several times."),
    ] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(help="Split whose images are looked for; with --gallery; may be given several times."),
    ] = None,
    gallery: Annotated[
        list[str] | None,
        typer.Option(help="Split whose images are looked through; may be given several times."),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option(help="Metrics by name, with commas between them; those of the protocol by default."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="A similarity whose expected FAR and TAR are printed.")
    ] = None,
    rerank: Annotated[
        bool, typer.Option("--rerank", help="Rank once more by k-reciprocal neighbours (retrieval).")
    ] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Embed each image with its mirror image, for twice the time.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write; by default evaluation-PROTOCOL beside the checkpoint or the embeddings."
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest to test a CHECKPOINT on; without it its own run's.")
    ] = None,
    device: Device = None,
    force: Force = False,
    dry_run: DryRun = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate every network of a run on its test identities; or a network, or embeddings, by a protocol of the field.

    Values have 95 % intervals, by bootstrap over identities.
    """
    names = tuple(name for given in metrics or () for name in given.split(",") if name)
    asked = {
        "pairs": pairs, "root": root, "templates": tuple(templates or ()), "query": tuple(query or ()),
        "gallery": tuple(gallery or ()), "metrics": names, "threshold": threshold, "rerank": rerank,
    }  # fmt: skip
    if protocol:
        from ..console import Console
        from ..options import Options
        from ..protocols.evaluate_by import evaluate_by_protocols
        from ..protocols.request import ProtocolRequest

        options = Options(Console(quiet, as_json), device, force, dry_run=dry_run)
        request = ProtocolRequest(**asked)
        with stoppable(*["torch"] * path.is_dir(), stop=options.stop):
            done = evaluate_by_protocols(
                path, tuple(protocol), request, options,
                overrides=overrides or [], manifest=manifest, flip=flip, out=out, allow_code=allow_code,
            )  # fmt: skip
        options.console.result(done)
        return
    _refuse_without_protocol(path, {**asked, "flip": flip, "out": out})
    _examine(path, overrides or [], manifest, device, force, dry_run, allow_code, as_json, quiet)


def _refuse_without_protocol(path: Path, asked: dict[str, Any]) -> None:
    from ...mining.errors import InputError

    given = [name for name, value in asked.items() if value not in (None, (), False)]
    if given:
        instead = {"metrics": ", or set eval.metrics=[...]", "flip": ", or set eval.flip=true"}.get(
            given[0], ""
        )
        raise InputError(f"--{given[0]} goes with --protocol NAME{instead}")
    if path.is_file():
        raise InputError(
            f"{path} is a file; say by which protocol to evaluate it, such as --protocol verification"
        )


def _examine(
    path: Path,
    overrides: list[str],
    manifest: Path | None,
    device: str | None,
    force: bool,
    dry_run: bool,
    allow_code: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """All networks of a run, or one checkpoint, by the metrics of `eval.metrics`."""
    from ...mining.errors import InputError
    from ..stages.evaluate import evaluation_table

    if (path / "meta.json").exists():
        results, console = _examine_checkpoint(
            path, overrides, manifest, device, dry_run, allow_code, as_json, quiet
        )
    else:
        from ..rounds import evaluate_rounds

        if not path.exists():
            best = " (a run keeps a best one only where it has validation identities)" * (path.name == "best")
            raise InputError(
                f"{path} does not exist{best}; name a run, or a checkpoint such as RUN/round-000/checkpoint"
            )
        if manifest is not None:
            raise InputError(
                f"--manifest goes with a CHECKPOINT; {path} is a run, whose manifest is in subspace.yaml"
            )
        with working(
            path, "eval", overrides, device=device, force=force, dry_run=dry_run, as_json=as_json, quiet=quiet
        ) as context:
            results, console = evaluate_rounds(context), context.options.console
    if results:
        console.say_lines(evaluation_table(results))
    console.result(results)


def _examine_checkpoint(
    path: Path,
    overrides: list[str],
    manifest: Path | None,
    device: str | None,
    dry_run: bool,
    allow_code: bool,
    as_json: bool,
    quiet: bool,
) -> tuple[dict[str, Any], Any]:
    """Metrics of a checkpoint on the test identities of its manifest; none in a dry run."""
    from ..configuration.config_file import parse_config
    from ..console import Console
    from ..exporting.chosen_checkpoint import choose_checkpoint
    from ..exporting.trained_on import open_tested
    from ..options import Options
    from ..stages.held_out import HeldOut

    options = Options(Console(quiet, as_json), device)
    chosen = choose_checkpoint(path)
    config = parse_config(chosen.meta.config, overrides, where=f"{path}/meta.json")
    opened = open_tested(chosen, config, manifest)
    if dry_run:
        HeldOut.test(config).choose_images(opened)  # says what would be wrong
        options.console.say(f"would evaluate {path} on {opened.path}; dry run: nothing was done")
        return {}, options.console
    from ..faults.memory_advice import shortages_in_words

    with shortages_in_words("eval", config), stoppable("torch", stop=options.stop):
        from ..stages.examination import examine_checkpoint

        return {
            str(path): examine_checkpoint(path, config, opened, options, allow_code=allow_code)
        }, options.console
