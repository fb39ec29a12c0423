"""The `subspace` command. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from ..mining.manifest import Manifest
    from .config import RunConfig
    from .run_directory import RunDirectory
    from .stage import Options

app = typer.Typer(
    help="Train identity embeddings by subspace hard mining: embed, cluster, plan, train, repeat.",
    epilog="Begin with: subspace demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, made by `subspace init`.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Settings over those of RUN/subspace.yaml."),
]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; the fastest there is unless told.")
]
Force = Annotated[bool, typer.Option("--force", help="Make it again even if it is done or stale.")]
Resume = Annotated[bool, typer.Option("--resume/--no-resume", help="Continue unfinished work, or drop it.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Round = Annotated[
    int | None, typer.Option("--round", min=0, help="Round to work on; the latest unless told.")
]


def main() -> None:
    """Run the command line; every error meant for the user is one line on standard error and its exit code."""
    from ..mining.errors import StoppedEarly, SubspaceError

    try:
        code = app(standalone_mode=False)
    except (SubspaceError, StoppedEarly) as error:
        _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        _fail(error.format_message(), 2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM):
            raise
        _fail(
            f"{error.strerror}: {error.filename or 'a file of the run'}; free space or check permissions", 2
        )
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> NoReturn:
    print(f"subspace: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


@contextmanager
def _working(
    path: Path,
    command: str,
    overrides: list[str] | None,
    *,
    device: str | None = None,
    force: bool = False,
    remake_stale: bool = False,
    resume: bool = True,
    dry_run: bool = False,
    as_json: bool = False,
    quiet: bool = False,
    lock: bool = True,
) -> Iterator[tuple[RunDirectory, RunConfig, Manifest, Options]]:
    """Everything a stage command needs: run, settings, manifest, options; the run locked, signals heard."""
    from contextlib import nullcontext

    from ..mining.manifest import Manifest
    from .config import load_config
    from .console import Console
    from .run_directory import RunDirectory
    from .stage import Options

    run = RunDirectory(path)
    config = load_config(run.config, overrides or [])
    options = Options(Console(quiet, as_json), device, force, remake_stale, resume, dry_run)
    with run.locked(command) if lock and not dry_run else nullcontext(), options.stop.listening():
        yield run, config, Manifest.open(config.manifest), options


@app.command(epilog="Example: subspace ingest photos/ --out photos.parquet --test-fraction 0.2")
def ingest(
    source: Annotated[Path, typer.Argument(help="Folder per identity, CSV/TSV, or Parquet.")],
    out: Annotated[Path, typer.Option(help="Manifest to write.")],
    root: Annotated[
        Path | None, typer.Option(help="Where relative image paths start; the table's folder unless told.")
    ] = None,
    identity_column: Annotated[
        str | None, typer.Option(help="Column with the identity; found by name unless told.")
    ] = None,
    path_column: Annotated[str | None, typer.Option(help="Column with the image path.")] = None,
    split_column: Annotated[
        str | None, typer.Option(help="Column with train, pretrain, val or test.")
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(help="Column with what a test pair must not share: camera, album, typeface.")
    ] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of identities held out for testing.")] = 0.1,
    val_fraction: Annotated[float, typer.Option(help="Share of identities held out for validation.")] = 0.0,
    pretrain_fraction: Annotated[
        float, typer.Option(help="Share of training identities for the softmax start.")
    ] = 0.0,
    min_images: Annotated[int, typer.Option(min=1, help="Leave out identities with fewer images.")] = 1,
    on_bad_image: Annotated[
        str, typer.Option(help="Missing or empty image files: fail, or quarantine.")
    ] = "fail",
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn splits.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn a folder, CSV or Parquet file into an image manifest. Nothing is copied but inline images."""
    from .console import Console
    from .ingest import IngestOptions
    from .ingest import ingest as run_ingest

    options = IngestOptions(
        root=root,
        identity_column=identity_column,
        path_column=path_column,
        split_column=split_column,
        group_column=group_column,
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        pretrain_fraction=pretrain_fraction,
        min_images=min_images,
        on_bad_image=on_bad_image,  # pyright: ignore[reportArgumentType]  # checked there
        seed=seed,
    )
    console = Console(quiet, as_json)
    with console.progress("ingest", None, "files") as progress:
        summary = run_ingest(source, out, options, progress=progress.over)
    for line in summary.lines():
        console.say(line)
    console.say(f"next: subspace init RUN --manifest {out}")
    console.result(summary.to_json())


@app.command(
    epilog="Example: subspace init runs/photos --manifest photos.parquet --model iresnet50 train.optimizer.lr=5e-4"
)
def init(
    run: RunPath,
    manifest: Annotated[Path, typer.Option(help="Image manifest, written by `subspace ingest`.")],
    model: Annotated[
        str, typer.Option(help="small, iresnet18|34|50|100, python:module:function or checkpoint:DIR.")
    ] = "small",
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Write the settings anew.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make a run folder with a commented subspace.yaml whose values suit the manifest."""
    from .console import Console
    from .initialize import initialize
    from .run_directory import RunDirectory

    directory = RunDirectory(run)
    initialize(directory, manifest, model, overrides or [], force=force)
    Console(quiet).say(f"wrote {directory.config}\nnext: subspace run {run}")


@app.command(epilog="Example: subspace pretrain runs/photos pretrain.steps=4000")
def pretrain(
    run: RunPath,
    overrides: Overrides = None,
    device: Device = None,
    force: Force = False,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make the starting network: softmax over the pretrain identities (pretrain.steps=0: take MODEL as it is)."""
    from .pretrain import pretrain as work

    flags: dict[str, Any] = {"device": device, "force": force, "resume": resume, "dry_run": dry_run}
    with _working(run, "pretrain", overrides, **flags, as_json=as_json, quiet=quiet) as (
        directory,
        config,
        manifest,
        options,
    ):
        options.console.result(work(directory, config, manifest, options))


@app.command(epilog="Example: subspace extract runs/photos --shard 0 --num-shards 8")
def extract(
    run: RunPath,
    overrides: Overrides = None,
    round_index: Round = None,
    shard: Annotated[
        int | None, typer.Option(min=0, help="Do only every --num-shards-th part, from this one.")
    ] = None,
    num_shards: Annotated[int, typer.Option(min=1, help="Number of shards.")] = 1,
    device: Device = None,
    force: Force = False,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Embed the training images with the current network and average them by identity."""
    from .extract import Shard
    from .extract import extract as work

    part = None if shard is None else Shard(shard, num_shards)
    flags: dict[str, Any] = {"device": device, "force": force, "resume": resume, "dry_run": dry_run}
    with _working(run, "extract", overrides, **flags, as_json=as_json, quiet=quiet, lock=part is None) as (
        directory,
        config,
        manifest,
        options,
    ):
        index = directory.latest_round if round_index is None else round_index
        options.console.result(work(directory, config, manifest, options, round_index=index, shard=part))


@app.command(epilog="Example: subspace cluster runs/photos cluster.ids_per_subspace=5000")
def cluster(
    run: RunPath,
    overrides: Overrides = None,
    round_index: Round = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Cluster the identity means into subspaces of look-alikes, and print how many neighbours stay together."""
    from .cluster import cluster as work

    with _working(run, "cluster", overrides, force=force, dry_run=dry_run, as_json=as_json, quiet=quiet) as (
        directory,
        config,
        _,
        options,
    ):
        index = directory.latest_round if round_index is None else round_index
        options.console.result(work(directory, config, options, round_index=index))


@app.command(
    epilog="Example: subspace plan runs/photos plan.strategy=doppelganger plan.random_fraction=0.25; "
    "subspace plan runs/photos --list-shards | awk '$1 == 7 {print $2}'"
)
def plan(
    run: RunPath,
    overrides: Overrides = None,
    round_index: Round = None,
    list_shards: Annotated[
        bool,
        typer.Option(
            "--list-shards", help="Only list subspace, shard and images in it, tab-separated, for staging."
        ),
    ] = False,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the batches of a round, one Parquet row each, and print how much harder they are than random ones."""
    from .plan import list_shards as shards
    from .plan import plan as plan_round

    flags: dict[str, Any] = {"force": force, "dry_run": dry_run, "as_json": as_json, "quiet": quiet}
    with _working(run, "plan", overrides, **flags, lock=not list_shards) as (
        directory,
        config,
        manifest,
        options,
    ):
        index = directory.latest_round if round_index is None else round_index
        work = shards if list_shards else plan_round
        options.console.result(work(directory, config, manifest, options, round_index=index))


@app.command(epilog="Example: subspace train runs/photos train.precision=bf16-mixed --device cuda")
def train(
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
    """Train one round on its plan; continues from the last saved step."""
    from .train_round import train as work

    flags: dict[str, Any] = {"device": device, "force": force, "resume": resume, "dry_run": dry_run}
    with _working(run, "train", overrides, **flags, as_json=as_json, quiet=quiet) as (
        directory,
        config,
        manifest,
        options,
    ):
        index = directory.latest_round if round_index is None else round_index
        options.console.result(work(directory, config, manifest, options, round_index=index))


@app.command(
    name="eval", epilog="Example: subspace eval runs/photos; subspace eval runs/photos/round-001/checkpoint"
)
def evaluate(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|CHECKPOINT", help="Run folder, or a checkpoint in or outside one.")
    ],
    overrides: Overrides = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest to test a CHECKPOINT on; its own run's unless told.")
    ] = None,
    device: Device = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Rank-k with distractors and TAR@FAR on the test identities, with 95 % intervals."""
    from ..mining.errors import InputError
    from . import evaluate as stage

    if (path / "meta.json").exists():
        from ..mining.manifest import Manifest
        from ..train.checkpoint import read_meta
        from .config import parse_config
        from .console import Console
        from .stage import Options

        options = Options(Console(quiet, as_json), device)
        config = parse_config(read_meta(path).config, overrides or [], where=f"{path}/meta.json")
        opened = Manifest.open(manifest or config.manifest)
        if dry_run:
            stage.choose_images(config, opened)  # says what would be wrong
            options.console.say(f"would evaluate {path} on {opened.path}; dry run: nothing was done")
            return
        results = {str(path): stage.evaluate_checkpoint(path, config, opened, options)}
    else:
        if manifest is not None:
            raise InputError(
                f"--manifest goes with a CHECKPOINT; {path} is a run, whose manifest is in subspace.yaml"
            )
        with _working(
            path, "eval", overrides, device=device, force=force, dry_run=dry_run, as_json=as_json, quiet=quiet
        ) as (directory, config, opened, options):
            for index in (-1, *directory.rounds):
                if (
                    directory.network(index + 1) / "done" / ("train.json" if index >= 0 else "pretrain.json")
                ).exists():
                    stage.evaluate(directory, config, opened, options, round_index=index)
            results = stage.evaluations(directory)
        if not results and not dry_run:
            raise InputError(f"{path} has no network yet; run `subspace pretrain {path}` first")
    if results:
        options.console.say(stage.evaluation_table(results))
    options.console.result(results)


@app.command(epilog="Example: subspace run runs/photos rounds=4 plan.steps=5000")
def run(
    run: RunPath,
    overrides: Overrides = None,
    device: Device = None,
    force: Annotated[
        bool, typer.Option("--force", help="Make stages again that were done with other settings.")
    ] = False,
    resume: Resume = True,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """All stages, round after round, re-clustering each time; continues wherever it stopped."""
    from .rounds import run_rounds

    flags: dict[str, Any] = {"device": device, "remake_stale": force, "resume": resume, "dry_run": dry_run}
    with _working(run, "run", overrides, **flags, as_json=as_json, quiet=quiet) as (
        directory,
        config,
        manifest,
        options,
    ):
        options.console.result(run_rounds(directory, config, manifest, options))


@app.command(epilog="Example: subspace status runs/photos")
def status(run: RunPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """What is done, begun, stale or still to do, and where the time went."""
    from .console import Console
    from .status import as_json as to_json
    from .status import describe, stage_statuses

    with _working(run, "status", overrides, lock=False) as (directory, config, manifest, _):
        statuses = stage_statuses(directory, config, manifest.fingerprint)
        Console(as_json=as_json).result(to_json(statuses))
        if not as_json:
            Console().say(describe(directory, statuses))


@app.command(epilog="Example: subspace inspect runs/photos/round-000/subspaces.parquet")
def inspect(
    path: Annotated[Path, typer.Argument(help="Parquet file, plan folder, checkpoint or run folder.")],
    as_json: AsJson = False,
) -> None:
    """Summarise an artifact: rows, identities, sizes, batch hardness, fingerprints."""
    from .console import Console

    if (path / "subspace.yaml").exists():
        return status(path, None, as_json)
    from .inspect import inspect as summarise

    summary = summarise(path)
    console = Console(as_json=as_json)
    console.result(summary.to_json())
    if not as_json:
        console.say("\n".join(summary.lines()))
    return None


@app.command(epilog="Example: subspace demo --seed 1 --out runs")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for demo-start, demo-random and demo-subspace.")] = Path(
        "runs"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    manifest: Annotated[
        Path | None, typer.Option(help="Manifest to use instead of the shipped glyphs.")
    ] = None,
    device: Device = None,
    force: Annotated[bool, typer.Option("--force", help="Throw earlier demo runs away.")] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The whole loop on real images: random batches against subspaces, from one start, for the same steps."""
    from .console import Console
    from .demo import run_demo
    from .stage import Options

    options = Options(Console(quiet, as_json), device, force, dry_run=dry_run)
    with options.stop.listening():
        options.console.result(run_demo(out, seed, manifest, options))


if __name__ == "__main__":
    main()
