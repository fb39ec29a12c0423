"""`subspace index` and `subspace search`: who is most similar, among any number of identities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from .parameters import AllowCode, AsJson, Device, DryRun, Quiet, stoppable

if TYPE_CHECKING:
    from ...mining.index.gallery import Stages

commands = typer.Typer()

Network = Annotated[
    str | None,
    typer.Option(
        metavar="CHECKPOINT", help="Run, checkpoint, or network such as onnx:FILE that embeds images."
    ),
]
Weights = Annotated[str | None, typer.Option(help="Weights of that network, as in `subspace embed`.")]
Preprocess = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Over what that network says of its images: size, mean, std ..."),
]


@commands.command(epilog="Example: subspace index photos.parquet --out photos.index")
def index(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="EMBEDDINGS|MANIFEST|INDEX",
            help="File of embeddings (.parquet, .npy); a manifest, with --network; an INDEX, with --append or --delete.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the new index.")] = None,
    network: Network = None,
    weights: Weights = None,
    preprocess: Preprocess = None,
    kind: Annotated[
        str, typer.Option(help="flat, ivf or hnsw; auto chooses by the number of identities, and says why.")
    ] = "auto",
    images: Annotated[
        bool, typer.Option("--images", help="An index over images, too, for search --stages images.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="float32, or float16 for half the disk.")] = "float32",
    append: Annotated[
        list[Path] | None, typer.Option(metavar="MORE", help="Embeddings or a manifest to add to INDEX.")
    ] = None,
    delete: Annotated[
        list[str] | None,
        typer.Option(metavar="IDENTITY", help="Remove from INDEX with all images, before anything is added."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 2, help="Of the training of an index.")] = 0,
    max_bad_fraction: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of unreadable images of a manifest above which it stops (exit code 4)."
        ),
    ] = 0.01,
    force: Annotated[bool, typer.Option("--force", help="Replace the index at --out.")] = False,
    device: Device = None,
    dry_run: DryRun = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make an index of identities for `subspace search`, add images to it, or delete identities from it.

    Stopped while a manifest is embedded, the same command continues.
    """
    from ..console import Console
    from ..options import Options

    options = Options(Console(quiet, as_json), device, force=force, dry_run=dry_run)
    with stoppable("faiss", *["torch"] * (network is not None), stop=options.stop):
        from ..searching.index_request import IndexRequest, index_rows

        request = IndexRequest(
            source,
            out,
            tuple(append or ()),
            tuple(delete or ()),
            network,
            kind,
            images,
            dtype,
            seed,
            allow_code,
            weights,
            tuple(preprocess or ()),
            max_bad_fraction,
        )
        options.console.result(index_rows(request, options))


@commands.command(epilog="Example: subspace search photos.index new.jpg --top 5 --far 1e-3 --out new.html")
def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="Folder that `subspace index` made.")],
    queries: Annotated[
        list[Path],
        typer.Argument(metavar="QUERY...", help="Images, folders of images, or embeddings (.parquet, .npy)."),
    ],
    top: Annotated[int, typer.Option(min=1, help="Matches of each query.")] = 10,
    images: Annotated[bool, typer.Option("--images", help="List images in place of identities.")] = False,
    T: Annotated[
        int, typer.Option("-T", min=1, help="Identities, nearest by their means, whose images are compared.")
    ] = 100,
    stages: Annotated[
        str, typer.Option(help="two: means, then images; means: these alone; images: all of them.")
    ] = "two",
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare all rows, whatever index there is.")
    ] = False,
    far: Annotated[
        float | None,
        typer.Option(help="Share of unknown queries that may be taken for somebody, such as 1e-3."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Similarity below which a query is unknown.")
    ] = None,
    network: Network = None,
    weights: Weights = None,
    preprocess: Preprocess = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the answers: .parquet, .csv, or .html with pictures.")
    ] = None,
    device: Device = None,
    dry_run: DryRun = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find the identities that are most similar to images or embeddings."""
    from ..console import Console

    with stoppable("faiss", *["torch"] * any(query.suffix not in (".parquet", ".npy") for query in queries)):
        from ..searching.answer_queries import answer_all
        from ..searching.network_of_index import NetworkOptions
        from ..searching.search_request import SearchRequest

        request = SearchRequest(
            index,
            tuple(queries),
            top,
            T,
            cast("Stages", stages),  # checked there
            images,
            exact,
            far,
            threshold,
            NetworkOptions(network, weights, tuple(preprocess or ()), allow_code),
            device,
            out,  # pyright: ignore[reportArgumentType]
            dry_run,
        )
        answer_all(request, Console(quiet, as_json))
