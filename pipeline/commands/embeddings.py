"""`subspace embed`: embeddings of any images as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .parameters import AllowCode, AsJson, Device, DryRun, Force, NumShards, Quiet, ShardIndex

commands = typer.Typer()


@commands.command(epilog="Example: subspace embed runs/photos holidays/ --out holidays.parquet --flip")
def embed(
    network: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CHECKPOINT|SPEC",
            help="A run, for its best round, else its latest; a checkpoint; or a network: onnx:FILE, insightface:FILE ...",
        ),
    ],
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Image files, a folder, a manifest, or any source that ingest reads."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="File to write, .parquet; or .npy, beside which NAME.rows.parquet says the images."
        ),
    ],
    flip: Annotated[
        bool, typer.Option("--flip", help="Mean with the mirror image, for twice the time.")
    ] = False,
    normalize: Annotated[
        bool, typer.Option("--normalize/--no-normalize", help="Unit length, or as the network makes them.")
    ] = True,
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the disk.")] = "float32",
    split: Annotated[
        list[str] | None, typer.Option(help="Images of this split alone; may be given several times.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Published weights for a network that is built here; timm: also pretrained."),
    ] = None,
    preprocess: Annotated[
        list[str] | None,
        typer.Option(
            help="KEY=VALUE over what the network says of its images: size, mean, std, channels, resize ..."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a forward pass.")] = 256,
    precision: Annotated[
        str, typer.Option(help="32-true, tf32 or bf16-mixed; auto: bf16-mixed on a GPU that has it.")
    ] = "auto",
    num_workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read and decode; by default from the cores.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that embed side by side; one for each GPU.")
    ] = 1,
    max_bad_fraction: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of unreadable images above which it stops (exit code 4)."),
    ] = 0.01,
    device: Device = None,
    shard: ShardIndex = None,
    num_shards: NumShards = 1,
    force: Force = False,
    dry_run: DryRun = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write the embeddings of any images by any network; stopped anywhere, the same command continues."""
    from ..console import Console
    from ..embedding.request import EmbedRequest
    from ..options import Options
    from ..stages.parts import Shard

    request = EmbedRequest(
        network=network,
        sources=tuple(source),
        out=out,
        flip=flip,
        normalize=normalize,
        dtype=dtype,  # pyright: ignore[reportArgumentType]  # checked there
        splits=tuple(split or ()),
        weights=weights,
        preprocess=tuple(preprocess or ()),
        batch_size=batch_size,
        precision=precision,
        num_workers=num_workers,
        max_bad_fraction=max_bad_fraction,
        allow_code=allow_code,
    )
    from ..embedding.command import run_embedding

    options = Options(Console(quiet, as_json), device, force=force, dry_run=dry_run, processes=processes)
    with options.stop.listening():
        done = run_embedding(request, options, Shard.asked(shard, num_shards))
    options.console.result(done)
