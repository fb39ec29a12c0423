"""A plan folder, read from Parquet one row group at a time.

Shapes: P identities in a batch, K images of each, b of its images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from ...mining.errors import DamagedFileError
from ...mining.parquet_tables import fingerprint_in, open_parquet, read_row_group
from ...mining.planning.plan_table import plan_parts
from ...mining.schemas import PLAN


class Plan:
    """A plan folder, read one row group at a time: `plan[step]` is the image ids of that batch, int64[P·K].

    Memory: one row group, however many identities or steps there are.

    Args:
        images, identities: of the manifest; larger ids are refused.

    Raises:
        InputError: no plan there, or a damaged one: ragged, with ids that do not exist, or steps that are not 0, 1, 2, ...

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from subspace.mining import IdentityImages, PlanConfig, plan_batches, write_plan
        >>> from subspace.train import Plan
        >>> images = IdentityImages(np.arange(4), np.arange(0, 9, 2), np.arange(8))  # 4 identities, 2 images each
        >>> config = PlanConfig(steps=3, P=2, K=2, strategy="random")
        >>> folder = Path(tempfile.mkdtemp(), "plan")
        >>> write_plan(folder, plan_batches(images, np.zeros(4, int), config), images)
        >>> plan = Plan(folder)
        >>> len(plan), plan.batch_shape, plan[0].shape
        (3, (2, 2), (4,))
    """

    def __init__(
        self, folder: Path | str, *, images: int | None = None, identities: int | None = None
    ) -> None:
        self.folder = Path(folder)
        self._below = {"image_ids": images, "identity_ids": identities}
        self._shape: tuple[int, int] | None = None
        self.parts = plan_parts(self.folder)
        if not self.parts:
            raise DamagedFileError(
                f"{self.folder} holds no plan; run `subspace plan` first", str(self.folder)
            )
        self.fingerprint = fingerprint_in(self.parts[0], PLAN)
        groups = [
            (part, group, metadata.row_group(group).num_rows)
            for part, metadata in enumerate(open_parquet(path, PLAN).metadata for path in self.parts)
            for group in range(metadata.num_row_groups)
        ]
        self._groups = [(part, group) for part, group, _ in groups]
        self._first_step = np.cumsum([0] + [rows for _, _, rows in groups])
        self._open = (-1, np.empty((0, 0), np.int32), np.empty((0, 0), np.int64))

    def __len__(self) -> int:
        return int(self._first_step[-1])

    def __getitem__(self, step: int) -> np.ndarray:
        return self._row(step)[1]

    @property
    def batch_shape(self) -> tuple[int, int]:
        """(P, K), of every batch."""
        if not len(self):
            raise DamagedFileError(f"{self.parts[0]} is damaged: it holds no batches", str(self.parts[0]))
        identities, image_ids = self._row(0)
        return len(identities), len(image_ids) // len(identities)

    def identities_of(self, step: int, image_ids: np.ndarray) -> np.ndarray:
        """The identity of each of some images of that batch, int32[b], in any order; no manifest is needed for it."""
        identities, planned = self._row(step)
        order = np.argsort(planned, kind="stable")
        place = order[np.searchsorted(planned, image_ids, sorter=order)]
        return identities[place // (len(planned) // len(identities))]

    def _row(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Identities int32[P] and images int64[P·K] of a batch."""
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of a plan of {len(self)}")
        group = int(np.searchsorted(self._first_step, step, side="right")) - 1
        if self._open[0] != group:
            part, number = self._groups[group]
            table = read_row_group(self.parts[part], PLAN, number, ["step", "identity_ids", "image_ids"])
            identity_ids, image_ids = _rows(table["identity_ids"]), _rows(table["image_ids"])
            if problem := self._problem(int(self._first_step[group]), table["step"], identity_ids, image_ids):
                path = self.parts[part]
                raise DamagedFileError(f"{path} is damaged: {problem}", str(path))
            self._open = (group, identity_ids, image_ids)
        row = step - self._first_step[group]
        return self._open[1][row], self._open[2][row]

    def _problem(
        self, first: int, steps: pa.ChunkedArray, identity_ids: np.ndarray, image_ids: np.ndarray
    ) -> str | None:
        """What is wrong with a row group of batches of which each by itself is sound."""
        shape = identity_ids.shape[1], image_ids.shape[1]
        self._shape = self._shape or shape
        if shape != self._shape or shape[1] % shape[0]:
            return f"batches of {shape[0]} identities and {shape[1]} images, in a plan of {self._shape[0]} and {self._shape[1]}"
        if (found := steps[0].as_py()) != first:
            return f"it has step {found} where step {first} belongs"
        for name, ids in (("identity_ids", identity_ids), ("image_ids", image_ids)):
            below, largest = self._below[name], int(ids.max())
            if below is not None and largest >= below:
                return f"it has {largest} in column '{name}', and the manifest ends at {below - 1}"
        return None


def each_once(image_ids: np.ndarray) -> np.ndarray:
    """Without repeats, in the order of first appearance."""
    return image_ids[np.sort(np.unique(image_ids, return_index=True)[1])]


def _rows(lists: pa.ChunkedArray) -> np.ndarray:
    return lists.combine_chunks().flatten().to_numpy().reshape(len(lists), -1)
