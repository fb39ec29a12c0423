"""What a montage is to show, by the path and the options that were given; and the file that it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ...mining.artifacts import whole_file
from ...mining.errors import InputError
from ...mining.manifest import IdentityImages, Manifest
from ...mining.parquet_tables import open_parquet
from ...mining.planning.plan_table import plan_parts
from ...mining.schemas import kind_of
from ...train.checkpoint_meta import META, read_meta
from ...train.data.image_input import ImageInput
from ...train.data.images import ImageStore
from ..output_file import MADE_BY, PICTURE, check_output
from ..pictures.run_images import RunImages, network_input
from ..round_chain import current_rounds
from ..stage_folder import CLEANING, StageFolder
from ..stages.context import Context
from ..stages.round_tables import read_quarantine
from .batch import batch_sheet
from .draw_sheet import SIDE, draw_montage
from .findings import pairs_sheet, quarantine_sheet, suspects_sheet
from .identities import identity_sheet, subspace_sheet
from .partial_image import readable_part
from .sheet import Sheet

SHOWS = "a run or a round with --batch, --identity or --subspace, a plan, subspaces.parquet, duplicates.parquet, quarantine.parquet or suspects.parquet of a run, or a manifest with --identity"

READ_BY = {
    "plan": "plan",
    "suspects": "clean",
    "subspaces": "cluster",
    "centroids": "cluster",
    "duplicates": "cluster",
}
"""The stage that read the manifest whose rows a kind of table numbers; of others it is `extract`."""


@dataclass(frozen=True)
class MontageRequest:
    """What a montage is asked for; at most one of batch, identity and subspace."""

    path: Path
    most: int
    out: Path
    batch: int | None = None
    identity: str | None = None
    subspace: int | None = None
    overrides: Sequence[str] = ()
    """Settings over those of the run, such as manifest=PATH where it has moved."""


def write_montage(request: MontageRequest) -> dict[str, Any]:
    """Draw what is asked for into a PNG file; return what was drawn, and which images could not be read.

    Raises:
        InputError: it cannot be drawn from that path, or `out` is something else's place.
    """
    check_output(request.out, PICTURE)
    if sum(option is not None for option in (request.batch, request.identity, request.subspace)) > 1:
        raise InputError("--batch, --identity and --subspace each ask for another picture; give one of them")
    sheet, images = _sheet(request)

    store = ImageStore(images.manifest)

    def picture(row: int) -> Image.Image | None:
        found = images.thumbnail(row, SIDE)
        return readable_part(store, row, SIDE) if found is None and sheet.lenient else found

    canvas = draw_montage(sheet, picture)
    said = PngImagePlugin.PngInfo()
    said.add_text("Software", MADE_BY)
    with whole_file(request.out) as aside:
        canvas.save(aside, "PNG", pnginfo=said)
    return {
        "out": str(request.out),
        "shows": sheet.title,
        "images": sheet.images,
        "unreadable": sorted(images.unreadable),
        "width": canvas.width,
        "height": canvas.height,
    }


def _sheet(request: MontageRequest) -> tuple[Sheet, RunImages]:
    path = request.path
    if not path.exists():
        raise InputError(f"{path} does not exist")
    run = next(
        (above for above in (path, *path.absolute().parents) if (above / "subspace.yaml").exists()), None
    )
    if run is None:
        return _of_a_manifest(request)
    context = Context.open(run, request.overrides)
    images = RunImages(context.manifest, context.config.data.decoder, _input_of(context))
    folder = _round_of(context, path)
    if request.identity is not None:
        return identity_sheet(context.manifest, request.identity, request.most), images
    kind = _kind(path)
    kind_drawn = (
        "plan" if request.batch is not None else "subspaces" if request.subspace is not None else kind
    )
    _refuse_changed(context, folder, READ_BY.get(kind_drawn or "", "extract"))
    if request.subspace is not None or kind in ("subspaces", "centroids"):
        if request.subspace is None:
            raise InputError(f"{path} has many subspaces; say which with --subspace")
        table = _made(folder.subspaces, "cluster")
        seen = _seen(context, folder, "cluster")
        return subspace_sheet(context.manifest, table, request.subspace, request.most, seen), images
    if request.batch is not None or kind == "plan":
        parts = [path] if path.is_file() and kind == "plan" else plan_parts(folder.plan)
        _made(parts[0] if parts else folder.plan, "plan")
        plan = context.config.plan
        return batch_sheet(folder, parts, request.batch or 0, request.most, context.manifest, plan), images
    if kind == "quarantine":
        return quarantine_sheet(context.manifest, path, request.most), images
    findings = {"duplicates": pairs_sheet, "suspects": suspects_sheet}
    if kind not in findings:
        raise InputError(f"{path}: --images draws {SHOWS}")
    return findings[kind](context.manifest, path, request.most, _seen(context, folder, READ_BY[kind])), images


def _seen(context: Context, folder: StageFolder, stage: str) -> IdentityImages:
    """The readable images of a round that show its identities: of `clean` all that it looked at, else those it trains on."""
    embedded = StageFolder(folder.file(CLEANING), folder.index)  # by `clean`, where extract has not kept them
    unreadable = None
    for made, maker in ((folder, "extract"), (embedded, "embed")):
        if made.quarantine.exists() and made.is_of(context.manifest.fingerprint, maker):
            unreadable = read_quarantine(made, len(context.manifest))
            break
    if stage != "clean":  # which looks at what `data.cleaned` leaves out, too
        with suppress(InputError):  # its table is gone, and leaves nothing out
            return context.training_identities(unreadable)
    return context.manifest.identities_in(context.config.data.train_splits, unreadable)


def _refuse_changed(context: Context, folder: StageFolder, stage: str) -> None:
    """Refuse to draw images of another manifest than the stage read whose file numbers them."""
    if not folder.is_of(context.manifest.fingerprint, stage):
        raise InputError(
            f"{context.manifest.path} has changed since `subspace {stage}` of {folder.name}, so the images would be others; "
            f"{folder.remedy('clean' if stage == 'clean' else 'extract')}{'' if stage == 'clean' else ', then what follows'}"
        )


def _of_a_manifest(request: MontageRequest) -> tuple[Sheet, RunImages]:
    path = request.path
    kind = _kind(path)
    if kind != "manifest":
        where = f" and {path} lies in no run" if kind else ""
        raise InputError(f"{path}: --images draws {SHOWS}{',' if where else ''}{where}")
    if request.identity is None:
        raise InputError(f"{path} is a manifest; say with --identity NAME whose images to draw")
    if request.overrides:
        raise InputError(f"{' '.join(request.overrides)}: settings go with a run, and {path} is a manifest")
    manifest = Manifest.open(path)
    return identity_sheet(manifest, request.identity, request.most), RunImages(manifest)


def _kind(path: Path) -> str | None:
    """The kind of table at a path; that of its files of a folder of them, of no other folder."""
    if path.is_dir():
        parts = plan_parts(path)
        if path.name != "plan" or not parts:
            return None
        path = parts[0]
    elif path.suffix != ".parquet":
        return None
    kind = kind_of(open_parquet(path).schema_arrow)
    return kind.name if kind else None


def _round_of(context: Context, path: Path) -> StageFolder:
    """The round that a path lies in, be it one that only cleaned; the latest of a run."""
    for above in (path.absolute(), *path.absolute().parents):
        with suppress(ValueError):  # the name of no round
            folder = context.run.round(context.run.index_of(above.name))
            if above == folder.path.absolute():
                return folder
    return context.run.round(max(current_rounds(context.run), default=0))


def _made(path: Path, stage: str) -> Path:
    if not path.exists() or path.is_dir():
        raise InputError(f"{path} is not there yet; `subspace {stage}` makes it")
    return path


def _input_of(context: Context) -> ImageInput | None:
    """What the network of the run expects of its images, as the latest of its checkpoints says."""
    for index in reversed((-1, *current_rounds(context.run))):
        checkpoint = context.run.round(index).checkpoint
        if (checkpoint / META).exists():
            return network_input(read_meta(checkpoint).input)
    return None
