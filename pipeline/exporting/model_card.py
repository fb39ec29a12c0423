"""model.md: what a network is, what it was trained on, how good it is, and how to use it. A function of files alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ...mining.manifest import Manifest
from ...mining.schemas import BOX
from ...train.networks.backbone import Backbone
from ..configuration.config import RunConfig
from ..console import amount
from .chosen_checkpoint import ChosenCheckpoint
from .description import INPUT, OUTPUT
from .figures import (
    evaluation_of,
    examined_on,
    flip_test_of,
    metric_rows,
    origin_of,
    roles_in,
    split_rows,
    training_rows,
)
from .frozen_file import frozen_contents
from .request import FILES, ExportRequest


@dataclass(frozen=True)
class ExportedFile:
    """A file beside the card."""

    name: str
    bytes: int
    what: str
    """For a person; what was measured of it as well."""


def describe_model(
    chosen: ChosenCheckpoint,
    network: Backbone,
    request: ExportRequest,
    files: list[ExportedFile],
    config: RunConfig | None,
    manifest: Manifest | str,
) -> str:
    """The card as Markdown; without clock times and without paths of this machine.

    Args:
        manifest: the run's, or why it cannot be told of.
    """
    evaluation = evaluation_of(chosen)
    data = None
    if config is not None and isinstance(manifest, Manifest):
        data = split_rows(manifest, config.data, roles_in(chosen, config))
    image_input = network.input
    scale, offset = image_input.scale_and_offset
    return _template().render(
        chosen=chosen,
        network=network,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        request=request,
        files=[(file.name, amount(file.bytes), file.what) for file in files],
        names=FILES,
        config=config,
        frozen=frozen_contents(network) is not None,
        manifest=manifest,
        manifest_name=Path(config.manifest).name if config is not None else "",
        splits=data,
        training=training_rows(chosen, config) if config is not None else None,
        began_elsewhere=config is not None and origin_of(config) is not None,
        evaluation=evaluation,
        metrics=None if isinstance(evaluation, str) else metric_rows(evaluation),
        flipped=flip_test_of(chosen),
        examined=[] if isinstance(evaluation, str) else examined_on(evaluation),
        input=image_input,
        boxed=isinstance(manifest, Manifest) and BOX[0] in manifest.columns,
        least=(int(image_input.width / image_input.crop), int(image_input.height / image_input.crop)),
        programs=[FILES[name] for name in request.formats if name != "safetensors"],
        scale=scale,
        offset=offset,
        INPUT=INPUT,
        OUTPUT=OUTPUT,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, where `cell` keeps tables whole
    )
    environment.filters["cell"] = lambda value: " ".join(str(value).split()).replace("|", "\\|")
    return environment.get_template("model_card.md.j2")
