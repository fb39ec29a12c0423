"""What `subspace embed` is asked for; without torch, so that a wrong option is refused at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...mining.errors import InputError
from ...mining.local_paths import refuse_url

if TYPE_CHECKING:
    from ..configuration.config import RunConfig

SUFFIXES = (".parquet", ".npy")


@dataclass(frozen=True)
class EmbedRequest:
    """Which network embeds which images, how, and where to.

    Raises:
        InputError: a file of another kind, or a setting out of range.

    Example:
        >>> request = EmbedRequest("runs/photos", (Path("photos"),), Path("photos.npy"), flip=True)
        >>> str(request.parts), request.config.extract.batch_size
        ('photos.npy.parts', 256)
    """

    network: str
    """A run, a checkpoint, or a spec such as onnx:FILE."""
    sources: tuple[Path, ...]
    out: Path
    flip: bool = False
    normalize: bool = True
    dtype: Literal["float32", "float16"] = "float32"
    splits: tuple[str, ...] = ()
    """Images of these alone; none: all."""
    weights: str | None = None
    preprocess: tuple[str, ...] = ()
    """KEY=VALUE, over what the network says of its images."""
    batch_size: int = 256
    precision: str = "auto"
    num_workers: int | None = None
    max_bad_fraction: float = 0.01
    allow_code: bool = False

    def __post_init__(self) -> None:
        refuse_url(self.out)
        if self.out.suffix not in SUFFIXES:
            raise InputError(f"--out {self.out}: name a file that ends in {' or '.join(SUFFIXES)}")
        if self.dtype not in ("float32", "float16"):
            raise InputError(f"--dtype {self.dtype}: give float32 or float16")
        for given in self.preprocess:
            if "=" not in given:
                raise InputError(f"--preprocess {given}: give KEY=VALUE, such as mean=0.5")
        _ = self.config

    @cached_property
    def config(self) -> RunConfig:
        """The settings of a run that count here too: preprocess, extract and data."""
        from ..configuration.config_file import parse_config

        workers = "auto" if self.num_workers is None else self.num_workers
        extract = {
            **{"batch_size": self.batch_size, "precision": self.precision, "num_workers": workers},
            **{"flip": self.flip},
        }
        values = {"manifest": "none", "extract": extract, "data": {"max_bad_fraction": self.max_bad_fraction}}
        return parse_config(values, [f"preprocess.{given}" for given in self.preprocess], "subspace embed")

    def arguments(self) -> list[str]:
        """The words of a command line that ask for the same."""
        given = [
            self.network,
            *map(str, self.sources),
            f"--out={self.out}",
            f"--dtype={self.dtype}",
        ]
        given += ["--flip"] * self.flip + ["--no-normalize"] * (not self.normalize)
        given += [f"--split={name}" for name in self.splits] + ["--allow-code"] * self.allow_code
        given += [] if self.weights is None else [f"--weights={self.weights}"]
        given += [f"--preprocess={one}" for one in self.preprocess]
        given += [] if self.num_workers is None else [f"--num-workers={self.num_workers}"]
        given += [f"--batch-size={self.batch_size}", f"--precision={self.precision}"]
        return [*given, f"--max-bad-fraction={self.max_bad_fraction}"]

    @property
    def parts(self) -> Path:
        """The folder of unfinished work."""
        return self.out.with_name(f"{self.out.name}.parts")
