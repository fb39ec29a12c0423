"""A plan as the batch sampler of anybody's data loader, in one process or in several that share each batch.

    torch       `DataLoader(dataset, batch_sampler=PlanBatchSampler(plan))`
    Lightning   set `Trainer(use_distributed_sampler=False)`: otherwise several processes end with a TypeError, since
                Lightning wants to put a sampler of its own in
    Accelerate  prepare the network and the optimizer, not the loader: in several processes a prepared loader gives
                each process other batches, and drops those that are not full

`examples/` has a tested loop for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from torch.utils.data import BatchSampler, Sampler

from ...mining.errors import InputError
from ..distributed import share
from .plan_reader import Plan, each_once


class PlanBatchSampler(BatchSampler):
    """The plan as a `batch_sampler` for `torch.utils.data.DataLoader`: yields lists of image ids.

    With `world_size` W each process takes a contiguous part of the same planned batch, as many batches as all
    others, and shares differ by one image at most. `gather_batch` puts the embeddings of all together for the loss.

    `batch_size` is P·K, or the largest share of it; batches are smaller where identities have fewer than K images.
    `sampler` gives the same image ids one by one.

    Args:
        plan: a folder written by `subspace plan` or `write_plan`.
        start_step: first batch, to continue a training where it stopped.
        keep_repeats: an identity with fewer than K images has some of them several times in a batch; False
            yields each once, so that no image is its own positive.
        rank: number of this process, from 0.
        world_size: processes that share each batch.

    Raises:
        InputError: no plan there, no such rank, or more processes than identities in a batch.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from subspace.mining import IdentityImages, PlanConfig, plan_batches, write_plan
        >>> from subspace.train import PlanBatchSampler
        >>> images = IdentityImages(np.arange(4), np.arange(0, 9, 2), np.arange(8))  # 4 identities, 2 images each
        >>> config = PlanConfig(steps=3, P=2, K=2, strategy="random")
        >>> folder = Path(tempfile.mkdtemp(), "plan")
        >>> write_plan(folder, plan_batches(images, np.zeros(4, int), config), images)
        >>> whole = PlanBatchSampler(folder)
        >>> len(whole), whole.batch_size
        (3, 4)
        >>> shares = [PlanBatchSampler(folder, rank=rank, world_size=2) for rank in (0, 1)]
        >>> [first + second for first, second in zip(*shares)] == list(whole)
        True
    """

    def __init__(
        self,
        plan: Plan | Path | str,
        start_step: int = 0,
        *,
        keep_repeats: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.plan = plan if isinstance(plan, Plan) else Plan(plan)
        self.start_step, self.keep_repeats = start_step, keep_repeats
        self.rank, self.world_size = rank, world_size
        if not 0 <= rank < world_size:
            raise InputError(f"rank={rank} of world_size={world_size}; ranks go from 0 to {world_size - 1}")
        P, K = self.plan.batch_shape
        if world_size > P:
            raise InputError(
                f"world_size={world_size} processes cannot share batches of {P} identities; "
                f"start {P} at most, or plan with a larger plan.P"
            )
        largest_share = -(-P * K // world_size)
        super().__init__(_ImageByImage(self), largest_share, drop_last=False)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, len(self.plan)):
            image_ids = self.plan[step]
            if not self.keep_repeats:
                image_ids = each_once(image_ids)
            yield image_ids[share(len(image_ids), self.rank, self.world_size)].tolist()

    def __len__(self) -> int:
        return max(0, len(self.plan) - self.start_step)


class _ImageByImage(Sampler[int]):
    """The image ids of batches, one after another."""

    def __init__(self, batches: PlanBatchSampler) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._batches)
