"""`subspace export`: a trained network as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..exporting.request import OLDEST_OPSET, Preprocessing, Quantization
from .parameters import AllowCode, AsJson, Quiet, stoppable

commands = typer.Typer()


@commands.command(epilog="Example: subspace export runs/photos --to onnx --quantize int8")
def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT|RUN", help="Checkpoint folder; or a run, for its best round, else its latest."
        ),
    ],
    to: Annotated[
        list[str], typer.Option(help="onnx, safetensors or torch (torch.export); may be given several times.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; by default `export` beside the checkpoint.")
    ] = None,
    preprocessing: Annotated[
        Preprocessing,
        typer.Option(help="inside: the file takes uint8 RGB; outside: normalised float32."),
    ] = "inside",
    opset: Annotated[int, typer.Option(help="ONNX operator set, 18 or later.")] = OLDEST_OPSET,
    quantize: Annotated[
        Quantization | None, typer.Option(help="Also a dynamically quantised ONNX file, its loss measured.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export in that folder.")] = False,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a network as ONNX, safetensors or a torch.export program, checked against torch, with a model card."""
    from ..console import Console

    with stoppable("torch"):
        from ..exporting.chosen_checkpoint import choose_checkpoint
        from ..exporting.request import ExportRequest
        from ..stage_folder import EXPORT

        request = ExportRequest(tuple(dict.fromkeys(to)), preprocessing, opset, quantize)
        chosen, console = choose_checkpoint(checkpoint), Console(quiet, as_json)
        console.say(f"exporting {chosen.folder} ({chosen.why})")
        from ..exporting.write_export import export_checkpoint

        target = out if out is not None else chosen.folder.parent / EXPORT
        done = export_checkpoint(chosen, request, target, console, force=force, allow_code=allow_code)
        console.result(done)
