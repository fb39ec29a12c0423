"""The run that accidents happen to: glyphs of the demo as image files, two rounds in seconds, and what it comes to."""

from __future__ import annotations

import csv
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import pyarrow.compute as pc
import pyarrow.parquet as pq
from disturbed_commands import NONE, Accident, Ended, Running, begin, run_command
from run_results import differences, results_of

DEMO = Path(__file__).resolve().parent.parent.parent / "data_manifests" / "demo.parquet"
IDENTITIES = {"train": 32, "pretrain": 16, "val": 6, "test": 16}
IMAGES = 6
"""Of an identity."""
SETTINGS = (
    "pretrain.steps=8", "pretrain.P=8", "pretrain.K=2", "pretrain.num_workers=0", "pretrain.save_every=3", "pretrain.log_every=3",
    "extract.num_workers=0", "extract.batch_size=64", "extract.identities_per_part=20", "extract.max_images=null",
    "recluster.refresh=extract", "cluster.ids_per_subspace=12", "plan.steps=8", "plan.P=8", "plan.K=2",
    "train.num_workers=0", "train.log_every=5", "train.save_every=3", "train.optimizer.warmup_steps=2",
    "eval.bootstrap=20", "eval.fars=[1e-2]",
)  # fmt: skip
"""Lines of metrics come at other steps than states, so that a stop falls between two of them."""


@dataclass
class TinyRun:
    """Where the images lie, and undisturbed runs by their settings."""

    folder: Path
    _undisturbed: dict[tuple[str, ...], tuple[dict[str, str], tuple[str, ...]]] = field(default_factory=dict)
    _making: Lock = field(default_factory=Lock)

    @property
    def images(self) -> Path:
        """The folder of the image files."""
        return self.folder / "images"

    @property
    def manifest(self) -> Path:
        """Of those images."""
        return self.folder / "manifest.parquet"

    def make(self) -> None:
        """Write images and manifest."""
        table = pq.read_table(DEMO, columns=["identity", "image", "split", "group"])
        rows = [("path", "identity", "split", "group")]
        for split, count in IDENTITIES.items():
            of_split = table.filter(pc.equal(table["split"].cast("string"), split))
            for identity in of_split["identity"].unique().to_pylist()[:count]:
                own = of_split.filter(pc.equal(of_split["identity"], identity)).slice(0, IMAGES).to_pylist()
                for number, row in enumerate(own):
                    path = self.images / identity / f"{number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(row["image"])
                    rows.append((str(path), identity, split, row["group"]))
        with open(self.folder / "images.csv", "w", newline="") as file:
            csv.writer(file).writerows(rows)
        self.must(run_command(["ingest", self.folder / "images.csv", "--out", self.manifest], self.folder))

    def undisturbed(self, *settings: str) -> tuple[dict[str, str], tuple[str, ...]]:
        """What a run with these settings comes to in one go, and what it writes, one by one."""
        with self._making:
            if settings not in self._undisturbed:
                run = self.folder / f"undisturbed-{len(self._undisturbed)}"
                self.must(
                    run_command(
                        ["init", run, "--manifest", self.manifest, *SETTINGS, *settings, "--quiet"], run
                    )
                )
                shutil.copy(run / "subspace.yaml", self._yaml(settings))
                ended = self.command(run)
                self.must(ended)
                self._undisturbed[settings] = results_of(run), ended.writes
            return self._undisturbed[settings]

    def fresh(self, run: Path, *settings: str) -> Path:
        """Make a run folder in which nothing is done yet, and return it."""
        self.undisturbed(*settings)
        run.mkdir(parents=True)
        shutil.copy(self._yaml(settings), run / "subspace.yaml")
        return run

    def command(self, run: Path, accident: Accident = NONE) -> Ended:
        """`subspace run` to its end."""
        return run_command(["run", run, "--quiet"], run, accident)

    def begin(self, run: Path, *more: str, command: str = "run", accident: Accident = NONE) -> Running:
        """`subspace run`, at work."""
        return begin([command, run, "--quiet", *more], run, accident)

    def unlike(self, run: Path, *settings: str) -> str:
        """What differs from the undisturbed run, in one line; empty: nothing."""
        found = differences(results_of(run), self.undisturbed(*settings)[0])
        return f"{len(found)} results differ: {', '.join(found[:4])}" if found else ""

    def _yaml(self, settings: tuple[str, ...]) -> Path:
        return self.folder / f"{'_'.join(settings) or 'plain'}.yaml"

    @staticmethod
    def must(ended: Ended) -> None:
        """End the campaign where a command fails without an accident."""
        if ended.code != 0:
            sys.exit(f"an undisturbed command fails: {ended.words}\n{ended.errors}")
