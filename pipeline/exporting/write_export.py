"""The folder of an export: every file made, read again and compared with the network, then all of it in place at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...mining.artifacts import whole_folder, write_text
from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...train.checkpoint import load_network
from ...train.networks.backbone import Backbone
from ...train.networks.registry import CHECKPOINT_PREFIX
from ..configuration.config import RunConfig
from ..console import Console, amount
from ..output_file import check_output_folder
from .agreement import Reference, largest_difference, references
from .chosen_checkpoint import ChosenCheckpoint
from .description import description_of
from .figures import manifest_of, settings_of
from .frozen_file import check_frozen, frozen_contents
from .int8_file import int8_loss, write_int8
from .model_card import ExportedFile, describe_model
from .onnx_file import onnx_model, run_onnx, write_onnx
from .request import CARD, FILES, INT8_FILE, WEIGHTS_BESIDE, ExportRequest
from .sample_images import SampleImages, draw_samples
from .torch_file import run_program, write_program
from .traced_program import traced
from .weights_file import run_weights, write_weights

OURS = {*FILES.values(), INT8_FILE, WEIGHTS_BESIDE, CARD}


def export_checkpoint(
    chosen: ChosenCheckpoint,
    request: ExportRequest,
    out: Path,
    console: Console,
    *,
    force: bool = False,
    allow_code: bool = False,
) -> dict[str, Any]:
    """Write the folder `out`, and return what `--json` prints. `allow_code` is that of `load_network`.

    Raises:
        InputError: the folder is there already, the network cannot be exported, or a file gives other embeddings.
    """
    check_output_folder(out, force, what="export", ours=OURS, mark=CARD)
    config = settings_of(chosen)
    manifest = manifest_of(chosen, config)
    network = load_network(f"{CHECKPOINT_PREFIX}{chosen.folder}", allow_code=allow_code).eval()
    result: dict[str, Any] = {"checkpoint": str(chosen.folder), "why": chosen.why, "folder": str(out)}
    frozen = frozen_contents(network)
    if frozen is not None:
        check_frozen(network, request)
    with whole_folder(out.resolve()) as aside:  # a link stays one
        writer = _Writer(aside, chosen, network, request, config, manifest)
        with console.progress("export", len(request.files) - 1, "files") as progress:
            for name in request.formats:
                writer.write(name) if frozen is None else writer.copy(name, frozen)
                progress.update(1, FILES[name])
            if request.quantize == "int8":
                writer.write_int8()
                progress.update(1, INT8_FILE)
        card = describe_model(chosen, network, request, writer.files, config, manifest)
        write_text(aside / CARD, card)
    for file in writer.files:
        console.say(f"{out / file.name}: {amount(file.bytes)}, {file.what}")
    console.say(f"{out / CARD}: data, training, figures, preprocessing and use")
    return {**result, **writer.facts}


class _Writer:
    """Writes one file after another into a folder, each compared with the network once it is written."""

    def __init__(
        self,
        folder: Path,
        chosen: ChosenCheckpoint,
        network: Backbone,
        request: ExportRequest,
        config: RunConfig | None,
        manifest: Manifest | str,
    ) -> None:
        self.folder, self.network, self.request = folder, network, request
        self.config, self.manifest = config, manifest
        self.description = description_of(network, chosen.meta, request.preprocessing)
        self.normalize = network.input if request.preprocessing == "outside" else None
        self.expected: list[Reference] = []
        self.files: list[ExportedFile] = []
        self.facts: dict[str, Any] = {"files": {}}

    def write(self, name: str) -> None:
        path, what = self.folder / FILES[name], name
        self.expected = self.expected or references(self.network)
        if name == "safetensors":
            write_weights(path, self.network, {**self.description, "preprocessing": "none"})
            exported, what = run_weights(path, self.network), "safetensors, weights alone"
        else:
            program = traced(self.network, self.request.preprocessing)
            if name == "onnx":
                write_onnx(path, onnx_model(program, self.request.opset, self.description))
                exported, what = run_onnx(path, self.normalize), f"ONNX, opset {self.request.opset}"
            else:
                write_program(path, program, self.description)
                exported, what = run_program(path, self.normalize), "torch.export program"
        difference = largest_difference(path.name, self.expected, exported)
        self._add(path, f"{what}; {_apart(difference)}", difference=difference)

    def copy(self, name: str, contents: bytes) -> None:
        path = self.folder / FILES[name]
        path.write_bytes(contents)
        self._add(path, f"a copy of the frozen network {self.network.spec}, byte for byte", difference=0.0)

    def write_int8(self) -> None:
        source, target = self.folder / FILES["onnx"], self.folder / INT8_FILE
        write_int8(source, target, self.description)
        in_int8 = run_onnx(target, self.normalize)
        sample = self._sample()
        if isinstance(sample, SampleImages):
            loss = int8_loss(run_onnx(source, self.normalize), in_int8, sample)
            words, facts = loss.in_words(), {"loss": loss.__dict__}
        else:
            words, facts = f"loss not measured, no images: {sample}", {"loss": None}
        ratio = target.stat().st_size / source.stat().st_size
        self._add(target, f"ONNX in int8, {100 * ratio:.0f} % of the size; {words}", **facts)

    def _sample(self) -> SampleImages | str:
        """Images to measure on, or why there are none."""
        if isinstance(self.manifest, str) or self.config is None:
            return str(self.manifest)
        try:
            return draw_samples(self.manifest, self.config, self.network.input)
        except InputError as error:
            return str(error).replace(str(self.manifest.path), self.manifest.path.name)

    def _add(self, path: Path, what: str, **facts: Any) -> None:
        beside = self.folder / WEIGHTS_BESIDE
        size = path.stat().st_size
        if path.name == FILES["onnx"] and beside.exists():
            size += beside.stat().st_size
            what += f", its weights in {beside.name}"
        self.files.append(ExportedFile(path.name, size, what))
        self.facts["files"][path.name] = {"bytes": size, **facts}


def _apart(difference: float) -> str:
    return (
        f"embeddings within {difference:.0e} of the network's"
        if difference
        else "embeddings equal to the network's"
    )
