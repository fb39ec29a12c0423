"""`subspace clean`: images and identities of a run that are not what their names say."""

from __future__ import annotations

import typer

from .parameters import AsJson, Device, DryRun, Force, Overrides, Quiet, Resume, Round, RunPath, working

commands = typer.Typer()


@commands.command(
    epilog="Example: subspace clean runs/photos; subspace run runs/photos data.cleaned=runs/photos/round-000/keep.parquet"
)
def clean(
    run: RunPath,
    overrides: Overrides = None,
    round_index: Round = None,
    device: Device = None,
    force: Force = False,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find wrong names, outliers, mixed and duplicate identities and near repeats among the training images."""
    from ..cleaning.clean import clean_round
    from ..faults.memory_advice import shortages_in_words

    with (
        working(
            run, "clean", overrides,
            device=device, force=force, resume=resume, dry_run=dry_run, as_json=as_json, quiet=quiet,
        ) as context,
        shortages_in_words("extract", context.config, 1),
    ):  # fmt: skip
        index = context.run.latest_round if round_index is None else round_index
        context.options.console.result(clean_round(context.at_round(index)))
