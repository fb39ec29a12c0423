"""A plan in Lightning, on one device or several: torchrun --nproc-per-node 2 examples/lightning_loop.py ...

python examples/lightning_loop.py MANIFEST PLAN, where `subspace plan RUN` has written RUN/round-000/plan
"""

import os
import sys

import lightning
import torch
from torch.utils.data import DataLoader, Dataset

from subspace.mining import Manifest
from subspace.train import BatchOHNMLoss, ImageStore, PlanBatchSampler, build_backbone, gather_batch


class Images(Dataset):
    """Any dataset that is indexed by image_id will do."""

    def __init__(self, manifest: Manifest, size: int) -> None:
        self.identity_id, self.store, self.size = manifest.identity_id, ImageStore(manifest), size

    def __getitem__(self, image_id: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.store.decode(image_id, self.size)), int(self.identity_id[image_id])


class Embedding(lightning.LightningModule):
    def __init__(self, manifest: str, plan: str) -> None:
        super().__init__()
        self.manifest, self.plan = Manifest.open(manifest), plan
        self.network, self.loss = build_backbone("small", seed=0), BatchOHNMLoss()

    def train_dataloader(self) -> DataLoader:
        sampler = PlanBatchSampler(self.plan, rank=self.global_rank, world_size=self.trainer.world_size)
        return DataLoader(Images(self.manifest, self.network.input.size), batch_sampler=sampler)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], step: int) -> torch.Tensor:
        images, labels = batch
        value = self.loss(*gather_batch(self.network(images), labels))  # over the whole planned batch
        self.print(f"step {step}: loss {value.item():.6f}")
        return value

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-4)


if __name__ == "__main__":
    trainer = lightning.Trainer(
        max_epochs=1,  # the plan once
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        use_distributed_sampler=False,  # the plan's sampler shares batches out itself
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(Embedding(*sys.argv[1:3]))
