"""Settings of a training: how it loads, computes, saves and re-clusters; no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ..mining.errors import InputError
from ..mining.settings import Settings
from .data.settings import AugmentConfig
from .losses.building import DEFAULT_ARGS
from .optimizer_config import OptimizerConfig

Precision = Literal["32-true", "tf32", "bf16-mixed", "16-mixed"]
"""Float32 as it is; with TF32 products and convolutions on NVIDIA GPUs; autocast to bf16; autocast to fp16."""
PrecisionSetting = Literal["auto", "32-true", "tf32", "bf16-mixed", "16-mixed"]
Workers = Annotated[int, Field(ge=0)] | Literal["auto"]
TrackerName = Literal["tensorboard", "wandb", "mlflow"]


class CollapseConfig(Settings):
    """What to do when all embeddings converge to one point."""

    action: Literal["soften", "stop", "warn", "off"] = Field(
        default="soften",
        description="go back to the last sound weights and go on with a lower lr (batch_ohnm: first with more negatives, then "
        "semi-hard ones); or stop (exit 4); or say so and go on, to stop at the end if nothing has changed; or off: look at nothing",
    )
    window: int = Field(default=50, ge=1, description="steps over which loss and distances are averaged")

    @field_validator("action", mode="before")
    @classmethod
    def _off_is_a_word(cls, action: Any) -> Any:
        """YAML reads a bare `off` as false."""
        return "off" if action is False else action

    @property
    def only_said(self) -> CollapseConfig:
        """The same for a training that nothing softens, such as that of a starting network."""
        return self if self.action == "off" else self.model_copy(update={"action": "warn"})


class ReclusterConfig(Settings):
    """When subspaces are made anew, and from which means; without more, every `plan.steps` steps."""

    stale_below: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="end a round when r@10 of its subspaces, on running means, falls below this share of what it "
        "was when they were made (0.5; batch norm makes it fall fast at first); null: at the end of the plan",
    )
    check_every: int = Field(default=200, ge=1, description="steps between two looks at r@10")
    refresh: Literal["extract", "running"] = Field(
        default="running",
        description="means of the next round: embed every image again, or take the running means of the training",
    )
    momentum: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="share of the old running mean that a visit of its identity keeps",
    )

    @property
    def needs_running_means(self) -> bool:
        """Whether training has to gather them."""
        return self.stale_below is not None or self.refresh == "running"


class LoaderConfig(Settings):
    """What every training of a network shares."""

    precision: PrecisionSetting = Field(
        default="auto",
        description="32-true, tf32 (float32 with TF32 products and convolutions), or autocast to bf16-mixed or 16-mixed "
        "(fp16, with a scaled loss); auto: bf16-mixed on a GPU that has it, else 32-true",
    )
    chunk_size: int | None = Field(
        default=None,
        ge=4,
        description="images that a process embeds at a time, for large batches on small memory, up to a third slower: the "
        "same gradients, except that batch norm sees the chunks; null: its whole share",
    )
    accumulate: int = Field(
        default=1, ge=1, description="batches whose gradients are averaged for one step of the optimiser"
    )
    ema: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay of the averaged weights that extraction and evaluation then use, e.g. 0.999; null: none",
    )
    channels_last: bool | Literal["auto"] = Field(
        default="auto", description="memory layout; auto: on a GPU, where precision is not 32-true"
    )
    compile: bool = Field(
        default=False, description="torch.compile the network; the first steps take minutes longer"
    )
    sync_batch_norm: bool = Field(
        default=True, description="with several processes, batch norm over the images of all of them"
    )
    num_workers: Workers = Field(
        default="auto",
        description="processes that read and decode images, for each training process; 0: that one itself; auto: from "
        "the cores that there are",
    )
    log_every: int = Field(default=20, ge=1, description="steps between lines of metrics.jsonl")
    save_every: int = Field(default=500, ge=1, description="steps between checkpoints to resume from")
    save_minutes: float | None = Field(
        default=None, gt=0, description="also save when so much time has passed since the last checkpoint"
    )
    keep_last: int = Field(
        default=1, ge=1, description="checkpoints on the way that are kept; more than 1: also after the end"
    )
    trackers: tuple[TrackerName, ...] = Field(
        default=("tensorboard",), description="where metrics.jsonl is also shown: tensorboard, wandb, mlflow"
    )
    pictures_every: int = Field(
        default=500,
        ge=0,
        description="steps between looks at a batch (similarities, hardest triplets); 0: none",
    )


class TrainConfig(LoaderConfig):
    """One round of training on a plan."""

    loss: str = Field(
        default="multi_similarity",
        description="a loss, or a sum such as batch_ohnm + 0.5*arcface; docs/losses.md lists them; python:module:function or "
        "pml:NAME for others; searched:PATH for what `subspace search-loss` found",
    )
    loss_args: dict[str, dict[str, Any]] = Field(
        default=DEFAULT_ARGS,
        description="settings of each loss, by its name",
    )
    collapse: CollapseConfig = CollapseConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    augment: AugmentConfig = AugmentConfig()


UNIMPORTANT = (
    "num_workers", "log_every", "save_every", "save_minutes", "keep_last", "trackers", "pictures_every",
)  # fmt: skip
"""Settings of a training that do not change what is trained."""


def check_whole_updates(steps: int, accumulate: int) -> None:
    """Refuse a short training that ends between two updates of the network, or before the first.

    Raises:
        InputError: `--steps` is no multiple of `train.accumulate`.
    """
    if steps % accumulate:
        raise InputError(
            f"--steps {steps:,}: the network is updated every {accumulate:,} batches (train.accumulate={accumulate}); give "
            f"a multiple of that, such as {-(-steps // accumulate) * accumulate}"
        )
