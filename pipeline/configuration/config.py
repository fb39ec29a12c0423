"""Every setting of a run, composed from the models beside the code that they steer."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from ...mining.cleaning.settings import CleanConfig
from ...mining.clustering.settings import SubspaceConfig
from ...mining.evaluation.settings import EvalConfig, ValidationConfig
from ...mining.planning.settings import PlanConfig
from ...mining.settings import Settings
from ...train.data.preprocess_config import PreprocessConfig
from ...train.data.settings import AugmentConfig, DecoderSetting
from ...train.networks.registry import SPECS_IN_WORDS
from ...train.optimizer_config import OptimizerConfig
from ...train.training_config import LoaderConfig, PrecisionSetting, ReclusterConfig, TrainConfig, Workers
from .early_stop import EarlyStopConfig
from .schedule_config import ScheduleConfig


class DataConfig(Settings):
    """Which identities of the manifest serve for what, by its `split` column."""

    train_splits: tuple[str, ...] = Field(default=("train", "pretrain"), description="mined and trained on")
    pretrain_splits: tuple[str, ...] = Field(
        default=("pretrain",), description="the starting network is trained on these identities"
    )
    test_splits: tuple[str, ...] = Field(
        default=("test",), description="gallery and probes of `subspace eval`"
    )
    val_splits: tuple[str, ...] = Field(
        default=("val",), description="every round is validated on these identities: by them the best is kept"
    )
    distractor_splits: tuple[str, ...] = Field(
        default=("val",), description="one image of each of these identities joins the gallery"
    )
    cleaned: str | None = Field(
        default=None,
        description="keep table, written by `subspace clean`: extract, plan and train leave out what it has keep=false; "
        "pretraining and the evaluations take the manifest as it is",
    )
    on_bad_image: Literal["quarantine", "fail"] = Field(
        default="quarantine", description="unreadable images: list them and go on, or stop"
    )
    max_bad_fraction: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="more unreadable images than this share of what a stage has read stop it, saved (exit code 4); five "
        "are always tolerated, but not a whole batch; 0: none",
    )
    decoder: DecoderSetting = Field(
        default="auto",
        description="of JPEGs: pillow or simplejpeg, whose pixels are equal; auto: the fastest that is installed",
    )
    timeout: float = Field(
        default=300,
        gt=0,
        description="seconds that a process which reads images may be silent, hanging in one read, until the command "
        "stops (exit 4)",
    )

    @model_validator(mode="after")
    def _held_out_identities_are_unseen(self) -> DataConfig:
        for name, what in (
            ("test_splits", "tested on"),
            ("distractor_splits", "tested on"),
            ("val_splits", "validated on"),
        ):
            for trained in ("train_splits", "pretrain_splits"):
                if seen := {*getattr(self, trained)} & {*getattr(self, name)}:
                    raise ValueError(
                        f"split '{min(seen)}' is both trained on and {what}; take it out of data.{trained} or data.{name}"
                    )
        return self


class PretrainConfig(LoaderConfig):
    """The starting network: it learns to classify the pretrain identities (the paper's own recipe)."""

    steps: int = Field(default=2000, ge=0, description="0: start from the weights that `model` gives")
    P: int = Field(default=64, ge=2, description="identities in a batch")
    K: int = Field(default=4, ge=1, description="images of each identity in a batch")
    identities: int | None = Field(
        default=None, ge=2, description="at most this many of them, drawn at random by seed; null: all"
    )
    min_images: int = Field(default=1, ge=1, description="only identities with at least this many images")
    loss: str = Field(
        default="softmax",
        description="softmax, cosface, arcface, partial_fc, another class loss, or a sum with one, as train.loss has it",
    )
    loss_args: dict[str, dict[str, Any]] = Field(
        default={},
        description="settings of each loss, by its name; softmax.scale is 16, 64 suits large networks",
    )
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)


class ExtractConfig(Settings):
    """Embedding the training images."""

    batch_size: int = Field(default=256, ge=1, description="images in a forward pass")
    max_images: int | None = Field(
        default=4,
        ge=1,
        description="at most this many images of an identity make its mean, drawn by seed; null: all",
    )
    precision: PrecisionSetting = Field(
        default="auto",
        description="32-true, tf32, or bf16-mixed (autocast); auto: bf16-mixed on a GPU that has it, else 32-true",
    )
    num_workers: Workers = Field(
        default="auto",
        description="processes that read and decode images; auto: from the cores that there are",
    )
    identities_per_part: int = Field(
        default=20_000,
        ge=1,
        description="unit of resuming and of --shard; one Parquet part each; with max_images, each part draws its own "
        "images, so another number draws others",
    )
    flip: bool = Field(default=False, description="add the mirror image of each, for twice the time")
    keep_embeddings: bool = Field(default=False, description="also write every image's embedding, as float16")


class RunConfig(Settings):
    """A whole run."""

    manifest: str = Field(description="image manifest, written by `subspace ingest`")
    model: str = Field(default="small", description=SPECS_IN_WORDS)
    weights: str | None = Field(default=None, description="file of published weights; timm: also pretrained")
    embedding_size: int | None = Field(default=None, ge=1, description="null: the network's own")
    allow_code: bool = Field(
        default=False, description="call the python: function that the checkpoint of another run names"
    )
    seed: int = Field(default=0, ge=0, description="every random choice derives from it")
    rounds: int = Field(
        default=2,
        ge=1,
        description="extract, cluster, plan, train, this many times; with recluster.stale_below more often, for "
        "rounds * plan.steps steps in all",
    )
    preprocess: PreprocessConfig = Field(default_factory=PreprocessConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    pretrain: PretrainConfig = Field(default_factory=PretrainConfig)
    extract: ExtractConfig = Field(default_factory=ExtractConfig)
    clean: CleanConfig = Field(default_factory=CleanConfig)
    cluster: SubspaceConfig = Field(default_factory=SubspaceConfig)
    recluster: ReclusterConfig = Field(default_factory=ReclusterConfig)
    plan: PlanConfig = Field(default_factory=PlanConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    eval: EvalConfig = Field(default_factory=EvalConfig)
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    early_stop: EarlyStopConfig = Field(default_factory=EarlyStopConfig)
    schedule: ScheduleConfig = Field(default_factory=ScheduleConfig)

    @property
    def total_steps(self) -> int:
        """Training steps of the whole run; the learning-rate schedule spans them."""
        return self.rounds * self.plan.steps

    @model_validator(mode="after")
    def _augment_needs_augmentation(self) -> RunConfig:
        if self.plan.singletons == "augment" and not self.train.augment.active:
            raise ValueError("plan.singletons=augment needs an augmentation, e.g. train.augment.shift=2")
        return self
