"""The table of stages: their order, what each needs and makes, and who does it.

This is the one place that knows all stages. `subspace run`, `status`, `submit`, the stage commands and the schedulers
read it. To add a stage, write its file in this folder, its settings, and its row here.

The file of a stage called NAME, `module`, defines
    NAME_fields(context)     settings and seeds that its output depends on; imports neither torch nor FAISS
    `work`(context)          does it, by `run_stage(row("NAME").stage(context), ...)`
    NAME_applies(context)    whether this run has the stage at all; left out where every run has it
    NAME_parts(context)      of a stage that shards: its parts, as `ExtractParts` has them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ...mining.errors import InputError
from ...mining.local_paths import in_shell
from .. import stage_folder as files
from ..faults.damaged_files import damage_in_words
from ..faults.memory_advice import shortages_in_words
from ..faults.sealed_files import Sealed
from ..loss_identity import with_known_path
from ..run_directory import RunDirectory
from .stage import Stage

if TYPE_CHECKING:
    from .context import Context

Place = Literal["start", "round", "network"]
"""start: once, for the starting network; round: in every round; network: for every network, the starting one too."""
Gpus = Literal["all", "shards", "one", "none"]

MANIFEST, NETWORK_BEFORE, NETWORK_HERE = "manifest", "network before", "network here"
"""Inputs that no stage of the folder makes: the manifest, the network that the round begins with, and its own."""

TRAINING_PHASES = ("data", "forward", "loss", "backward", "means", "update", "log", "pictures", "checkpoint")
TRAINING_OUTPUTS = (files.CHECKPOINT, files.RESUME, files.METRICS, files.TENSORBOARD, files.TRACKERS)


@dataclass(frozen=True)
class Switch:
    """A flag of a stage's command that does something else instead."""

    name: str
    help: str
    work: str
    """A function of the stage's file, called with the context."""


@dataclass(frozen=True)
class StageRow:
    """One stage."""

    name: str
    place: Place
    module: str
    """Its file in this folder."""
    work: str
    """The function of that file which does it."""
    inputs: Mapping[str, str]
    """The names of its fields that hold a fingerprint, and whose: a stage of the same folder, or one of the above."""
    sections: tuple[str, ...]
    """Sections and settings of `subspace.yaml` that its output depends on."""
    outputs: tuple[str, ...]
    """Files in its folder; the first one is there when it is done."""
    help: str
    """What its command says."""
    example: str = ""
    """Arguments of its command, after the run."""
    command: str = ""
    """The command that does it; its name unless said."""
    shards: bool = False
    """Whether it is done in parts, by any number of jobs."""
    trains: bool = False
    """Whether several processes on several nodes share its work."""
    gpus: Gpus = "none"
    """How many GPUs of a job it uses; shards: one for each shard of the job."""
    on_device: bool = False
    """Whether its command takes `--device`."""
    phases: tuple[str, ...] = ()
    """Parts of its time that its log has apart."""
    switches: tuple[Switch, ...] = ()

    def function(self, name: str, otherwise: Callable[..., Any] | None = None) -> Callable[..., Any]:
        """A function of its file, which is imported here; `otherwise` where it has none."""
        module = import_module(f".{self.module}", __package__)
        return getattr(module, name) if otherwise is None else getattr(module, name, otherwise)

    @property
    def command_name(self) -> str:
        """The command that does it."""
        return self.command or self.name

    def works_in(self, round_index: int) -> bool:
        """Whether the folder of a round (-1: the starting network) has this stage."""
        return self.place == "network" or (self.place == "start") == (round_index < 0)

    def applies(self, context: Context) -> bool:
        """Whether this run has the stage at all."""
        return self.function(f"{self.name}_applies", lambda context: True)(context)

    def command_in(self, run: RunDirectory, round_index: int) -> str:
        """The command line that does it, for messages."""
        at = f" --round {round_index}" if self.place == "round" else ""
        return f"subspace {self.command_name} {in_shell(run.path)}{at}"

    def stage(self, context: Context, *, foreseen: bool = False) -> Stage:
        """The stage, for the settings, inputs and folder of `context`; `foreseen`: inputs not done are as they will be made.

        Raises:
            InputError: a stage that it needs is not done; the message names the command that does it.
        """
        inputs = {name: self._fingerprint(context, each, foreseen) for name, each in self.inputs.items()}
        settings = [in_shell(word) for word in context.options.overrides]
        fields = self.function(f"{self.name}_fields")
        return Stage(
            self.name,
            context.folder,
            with_known_path(self.name, inputs | fields(context), context),
            self.outputs,
            " ".join([self.command_in(context.run, context.round_index), *settings]),
            " ".join([f"subspace run {in_shell(context.run.path)}", *settings]),
            tuple(self.reads(context)),
            lambda settings: inputs | fields(context.with_settings(settings)),
        )

    def do(self, context: Context, **arguments: Any) -> dict[str, Any]:
        """Do the stage unless it is done, and return its marker."""
        if self.gpus != "none":  # a signal inside would abort the process
            context.options.stop.hold(lambda: import_module("torch"))
        asked = context.config, context.options.processes
        with shortages_in_words(self.name, *asked), damage_in_words(STAGES):
            return self.function(self.work)(context, **arguments)

    def parts(self, context: Context) -> Any:
        """The parts of a stage that shards; None where it has none in this round."""
        return self.function(f"{self.name}_parts")(context)

    def reads(self, context: Context) -> Iterator[Sealed]:
        """The finished stages whose files it reads: of its inputs, and of theirs in the same folder."""
        for source in self.inputs.values():
            if source != MANIFEST:
                at, made = self._maker(context, source)
                only = files.CHECKPOINT if source in (NETWORK_BEFORE, NETWORK_HERE) else ""
                yield Sealed(at.folder, made.name, made.command_in(context.run, at.round_index), only)
                if not only:  # each round would ask twice of the one before
                    yield from (theirs for theirs in made.reads(at) if not theirs.only)

    def _maker(self, context: Context, source: str) -> tuple[Context, StageRow]:
        if source in (NETWORK_BEFORE, NETWORK_HERE):
            at = context.at_round(context.round_index - (source == NETWORK_BEFORE))
            return at, row("pretrain" if at.round_index < 0 else "train")
        return context, row(source)

    def _fingerprint(self, context: Context, source: str, foreseen: bool) -> str:
        if source == MANIFEST:
            return context.manifest.fingerprint
        at, made = self._maker(context, source)
        if foreseen and not at.folder.finished(made.name):
            return made.stage(at, foreseen=True).fingerprint
        return finished(at, made.name, at.round_index)


LIST_SHARDS = Switch(
    "list_shards", "Only list subspace, shard and images in it, tab-separated, for staging.", "list_shards"
)
STAGES = (
    StageRow(
        name="pretrain",
        place="start",
        module="pretrain",
        work="pretrain_network",
        inputs={},  # the manifest only where it trains
        sections=("model", "embedding_size", "seed", "pretrain", "data.pretrain_splits"),
        outputs=(*TRAINING_OUTPUTS, files.PLAN),
        help="Make the starting network: classify the pretrain identities (pretrain.steps=0: take MODEL as it is).",
        example="pretrain.steps=4000",
        trains=True,
        gpus="all",
        phases=TRAINING_PHASES,
        on_device=True,
    ),
    StageRow(
        name="extract",
        place="round",
        module="extract",
        work="extract_means",
        inputs={"manifest": MANIFEST, "network": NETWORK_BEFORE},
        sections=("seed", "recluster.refresh", "data.train_splits", "data.on_bad_image", "extract"),
        outputs=(files.IDENTITIES, files.QUARANTINE, files.IDENTITY_PARTS, files.EMBEDDINGS),
        help="Embed the training images with the current network and average them by identity.",
        example="--shard 0 --num-shards 8",
        shards=True,
        gpus="shards",
        on_device=True,
    ),
    StageRow(
        name="cluster",
        place="round",
        module="cluster",
        work="cluster_means",
        inputs={"identities": "extract"},
        sections=("seed", "cluster"),
        outputs=(files.SUBSPACES, files.CENTROIDS, files.DUPLICATES),
        help="Cluster the identity means into subspaces of look-alikes, and print how many neighbours stay together.",
        example="cluster.ids_per_subspace=5000 --device cuda",
        gpus="one",
        on_device=True,
    ),
    StageRow(
        name="plan",
        place="round",
        module="plan",
        work="plan_round",
        inputs={"subspaces": "cluster", "manifest": MANIFEST},
        sections=("seed", "data.train_splits", "plan"),
        outputs=(files.PLAN,),
        help="Write the batches of a round, one Parquet row each, and print how much harder they are than random ones.",
        example="plan.strategy=doppelganger plan.random_fraction=0.25; "
        "subspace plan runs/photos --list-shards | awk '$1 == 7 {print $2}'",
        switches=(LIST_SHARDS,),
        on_device=True,
    ),
    StageRow(
        name="train",
        place="round",
        module="train",
        work="train_round",
        inputs={"network": NETWORK_BEFORE, "plan": "plan", "manifest": MANIFEST},
        sections=("seed", "rounds", "plan.steps", "plan.singletons", "recluster", "train"),
        outputs=TRAINING_OUTPUTS,
        help="Train one round on its plan; continues from the last saved step.",
        example="train.precision=bf16-mixed --device cuda",
        trains=True,
        gpus="all",
        phases=TRAINING_PHASES,
        on_device=True,
    ),
    StageRow(
        name="validate",
        place="network",
        module="evaluate",
        work="validate_network",
        inputs={"network": NETWORK_HERE, "manifest": MANIFEST},
        sections=("seed", "data", "extract.batch_size", "extract.precision", "validation"),
        outputs=(files.VALIDATION,),
        help="Metrics on the validation identities.",
        command="eval",
        gpus="one",
    ),
    StageRow(
        name="eval",
        place="network",
        module="evaluate",
        work="evaluate_network",
        inputs={"network": NETWORK_HERE, "manifest": MANIFEST},
        sections=("seed", "data", "extract.batch_size", "extract.precision", "eval"),
        outputs=(files.EVALUATION, files.MISTAKES),
        help="Metrics on the test identities.",
        gpus="one",
    ),
)
"""In the order in which a run does them: those of the starting network, then round after round."""


def row(name: str) -> StageRow:
    """The row of a stage."""
    return next(found for found in STAGES if found.name == name)


def rows_of(place: Place) -> tuple[StageRow, ...]:
    """The rows of a place, in order."""
    return tuple(found for found in STAGES if found.place == place)


def finished(context: Context, name: str, round_index: int) -> str:
    """The fingerprint in a completion marker: what the stages after it depend on.

    Raises:
        InputError: that stage is not done; the message names the command that does it.
    """
    folder = context.run.round(round_index)
    if not folder.finished(name):
        command = row(name).command_in(context.run, round_index)
        raise InputError(f"{folder} has no finished {name} yet; run `{command}` first")
    return folder.record(name)["fingerprint"]


def steps_taken(run: RunDirectory, round_index: int) -> int:
    """Training steps of all rounds before `round_index`, as their completion markers have it."""
    rounds = (run.round(index) for index in range(round_index))
    return sum(folder.record("train")["summary"]["steps"] for folder in rounds if folder.finished("train"))
