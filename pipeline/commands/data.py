"""`subspace ingest` and `subspace init`: from images to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...mining.local_paths import in_shell
from ...train.networks.registry import SPECS_IN_WORDS
from .parameters import ALLOW_CODE, AllowCode, AsJson, Overrides, Quiet, RunPath, stoppable

commands = typer.Typer()


@commands.command(epilog="Example: subspace ingest photos/ --out photos.parquet --test-fraction 0.2")
def ingest(
    source: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="Folder of images, CSV/TSV/Parquet, .tar (WebDataset), .rec (InsightFace), .lst (MXNet), .npy/.npz, or a folder of "
            "such shards; several of one kind.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Manifest to write.")],
    root: Annotated[
        Path | None, typer.Option(help="Where relative image paths start; the table's folder by default.")
    ] = None,
    identity_column: Annotated[
        str | None, typer.Option(help="Column with the identity; found by its name by default.")
    ] = None,
    path_column: Annotated[str | None, typer.Option(help="Column with the image path.")] = None,
    split_column: Annotated[
        str | None, typer.Option(help="Column with train, pretrain, val or test.")
    ] = None,
    no_split_column: Annotated[
        bool, typer.Option("--no-split-column", help="No column says the split, whatever its name.")
    ] = False,
    group_column: Annotated[
        str | None, typer.Option(help="Column with what a test pair must not share: camera, album, typeface.")
    ] = None,
    no_group_column: Annotated[
        bool, typer.Option("--no-group-column", help="No column says the group, whatever its name.")
    ] = False,
    no_keep_column: Annotated[
        bool,
        typer.Option("--no-keep-column", help="A column keep, false where a row is set aside, says nothing."),
    ] = False,
    box_columns: Annotated[
        str | None, typer.Option(help="Four columns of a box by commas, or one of lists of four numbers.")
    ] = None,
    box_format: Annotated[
        str | None,
        typer.Option(help="Numbers of a box: xyxy (left, top, right, bottom) or xywh (width, height last)."),
    ] = None,
    no_box_columns: Annotated[
        bool, typer.Option("--no-box-columns", help="Take images whole, whatever columns of boxes there are.")
    ] = False,
    delimiter: Annotated[
        str | None, typer.Option(help="Between the columns of a CSV: a character such as ';', or tab.")
    ] = None,
    newlines_in_values: Annotated[
        bool,
        typer.Option("--newlines-in-values", help="Quoted values of a CSV may run over any number of lines."),
    ] = False,
    quoting: Annotated[
        str, typer.Option(help="Quotes of a CSV: double, around values; none, text like any other.")
    ] = "double",
    label_regex: Annotated[
        str | None,
        typer.Option(
            help="Pattern for file names (paths, if it has a slash): groups identity, group, split, such as "
            "'^(?P<identity>-?\\d+)_c(?P<group>\\d+)'."
        ),
    ] = None,
    split_map: Annotated[
        str | None,
        typer.Option(
            help="What the source's names of splits mean: 0=train,1=val,2=test; skip leaves one out, and of folders "
            "identity makes it one, as in eval=test,extras=skip."
        ),
    ] = None,
    identity_level: Annotated[
        str | None,
        typer.Option(
            help="Folders in folders: which level names identities, 1 for the first, 1,2 for both, all for the path."
        ),
    ] = None,
    label_key: Annotated[
        str | None,
        typer.Option(help="WebDataset: ending of the labels (cls, txt, json). Arrays: their name."),
    ] = None,
    image_key: Annotated[
        str | None,
        typer.Option(help="Ending (WebDataset), column or array of the images, where there are several."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels of a .npy of images; NAME_labels.npy by default.")
    ] = None,
    junk: Annotated[
        list[str] | None,
        typer.Option(
            help="Identity to leave out, any number of times, in place of -1, nan, None and null; '' alone: rows without "
            "one, beside these."
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="The sources are manifests: join them; splits are kept.")
    ] = False,
    prefix: Annotated[
        str | None,
        typer.Option(
            help="With --merge: what tells equal names of two manifests apart, `stem` for their file names, or a name "
            "for each, by commas; without it equal names are one identity."
        ),
    ] = None,
    keep_splits: Annotated[
        bool,
        typer.Option(
            "--keep-splits",
            help="With --merge: an identity of several manifests keeps the split that the first of them gives it.",
        ),
    ] = False,
    redraw_splits: Annotated[
        bool, typer.Option("--redraw-splits", help="Draw splits even where the source has its own.")
    ] = False,
    test_fraction: Annotated[float, typer.Option(help="Share of identities held out for testing.")] = 0.1,
    val_fraction: Annotated[float, typer.Option(help="Share of identities held out for validation.")] = 0.0,
    pretrain_fraction: Annotated[
        float, typer.Option(help="Share of training identities for the softmax start.")
    ] = 0.0,
    min_images: Annotated[int, typer.Option(min=1, help="Leave out identities with fewer images.")] = 1,
    max_images: Annotated[
        int | None, typer.Option(min=1, help="Of identities with more images, draw so many by seed.")
    ] = None,
    on_bad_image: Annotated[
        str, typer.Option(help="Missing or empty image files: fail, or quarantine.")
    ] = "fail",
    check_repeats: Annotated[
        str,
        typer.Option(
            help="Where images of equal bytes are looked for: all, identity (of one identity, and much faster), none. "
            "Images inside tables are compared in any case."
        ),
    ] = "all",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn splits.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Turn images of any common format into an image manifest. Nothing is copied but inline images."""
    from ...mining.errors import InputError
    from ..console import Console
    from ..manifests.merge import merge_manifests
    from ..sources.ingest import ingest_images
    from ..sources.options import JUNK, IngestOptions

    options = IngestOptions(
        root=root,
        identity_column=identity_column,
        path_column=path_column,
        split_column=split_column,
        no_split_column=no_split_column,
        group_column=group_column,
        no_group_column=no_group_column,
        no_keep_column=no_keep_column,
        box_columns=box_columns,
        box_format=box_format,  # pyright: ignore[reportArgumentType]  # checked there
        no_box_columns=no_box_columns,
        delimiter=delimiter,
        newlines_in_values=newlines_in_values,
        quoting=quoting,  # pyright: ignore[reportArgumentType]  # checked there
        label_regex=label_regex,
        split_map=split_map,
        identity_level=identity_level,
        label_key=label_key,
        image_key=image_key,
        labels=labels,
        junk=tuple(junk or JUNK) if junk != [""] else ("", *JUNK),
        redraw_splits=redraw_splits,
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        pretrain_fraction=pretrain_fraction,
        min_images=min_images,
        max_images=max_images,
        on_bad_image=on_bad_image,  # pyright: ignore[reportArgumentType]  # checked there
        check_repeats=check_repeats,  # pyright: ignore[reportArgumentType]  # checked there
        seed=seed,
    )
    console = Console(quiet, as_json)
    with stoppable():
        if merge:
            summary = merge_manifests(
                source, out, options, prefix, console.progress, console.say, keep_splits=keep_splits
            )
        elif prefix is None and not keep_splits:
            summary = ingest_images(source, out, options, console.progress, console.say)
        else:
            given = "--keep-splits" if prefix is None else f"--prefix {prefix}"
            raise InputError(f"{given} says nothing without --merge; leave it out, or join manifests")
    for line in summary.lines():
        console.say(line)
    console.say(f"next: subspace init RUN --manifest {in_shell(out)}")
    console.result(summary.to_json())


@commands.command(epilog="Example: subspace overlap train.parquet test.parquet --out shared.parquet")
def overlap(
    a: Annotated[Path, typer.Argument(metavar="A", help="Image manifest.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Image manifest to compare it with.")],
    names_only: Annotated[
        bool, typer.Option("--names-only", help="Compare names of identities, and read no images.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Parquet to write the pairs to.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """What two manifests share, by split: identities of equal name, images of equal bytes."""
    from ..console import Console
    from ..manifests.overlap import find_overlap

    console = Console(quiet, as_json)
    with stoppable():
        found = find_overlap(a, b, images=not names_only, out=out, bars=console.progress, say=console.say)
    for line in found.lines():
        console.say(line)
    if out is not None:
        console.say(f"  pairs: {out}")
    console.result(found.to_json())


def _list_recipes(asked: bool) -> None:
    if asked:
        from ..new_run.known_recipes import recipes_in_words

        print(recipes_in_words())
        raise typer.Exit


@commands.command(
    epilog="Example: subspace init runs/photos --manifest photos.parquet --model iresnet50 train.optimizer.lr=5e-4"
)
def init(
    run: RunPath,
    manifest: Annotated[Path, typer.Option(help="Image manifest, written by `subspace ingest`.")],
    model: Annotated[
        str,
        typer.Option(help=f"{SPECS_IN_WORDS}; see docs/networks.md."),
    ] = "small",
    weights: Annotated[
        str | None,
        typer.Option(
            help="Published weights for it, .pth or .safetensors; pretrained: those that timm fetches."
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="A known method; see --list-recipes.")] = "default",
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option("--force", help="Write the settings anew.")] = False,
    _list: Annotated[
        bool,
        typer.Option(
            "--list-recipes",
            callback=_list_recipes,
            is_eager=True,
            help="Print the recipes with their sources and figures, and exit.",
        ),
    ] = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a run folder with a commented subspace.yaml whose values suit the manifest, and say which and why."""
    from ..console import Console
    from ..new_run.initialize import begin_run
    from ..run_directory import RunDirectory

    directory, console = RunDirectory(run), Console(quiet, as_json)
    given = [*(overrides or []), *([ALLOW_CODE] if allow_code else [])]
    done = begin_run(directory, manifest, model, given, recipe=recipe, weights=weights, force=force)
    for line in done.lines():
        console.say(line)
    console.say(f"next: {done.next_command}")
    console.result(done.to_json())
