"""Planned batches and the batch-OHNM loss in a training loop of your own: plain torch, no run folder.

python examples/own_loop.py MANIFEST [STEPS]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from subspace.mining import Manifest, PlanConfig, cluster_identities, plan_batches, write_plan
from subspace.mining.clustering.means import identity_means
from subspace.train import BatchOHNMLoss, ImageStore, PlanBatchSampler, build_backbone


class Images(Dataset):
    """Any dataset that is indexed by image_id will do."""

    def __init__(self, manifest: Manifest, size: int) -> None:
        self.identity_id, self.store, self.size = manifest.identity_id, ImageStore(manifest), size

    def __getitem__(self, image_id: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.store.decode(image_id, self.size)), int(self.identity_id[image_id])


def main(manifest_path: str, steps: int = 100) -> None:
    manifest, network = Manifest.open(manifest_path), build_backbone("small", seed=0)
    identities = manifest.identities_in(["train", "pretrain"])
    dataset = Images(manifest, network.input.size)

    with torch.inference_mode():  # identity means, in one pass over the images
        network.eval()
        chunks = np.array_split(identities.image_id, max(1, len(identities.image_id) // 256))
        embedded = (network(torch.stack([dataset[i][0] for i in ids])).numpy() for ids in chunks)
        blocks = zip((manifest.identity_id[ids] for ids in chunks), embedded, strict=True)
        means = np.concatenate([block.mean for block in identity_means(blocks)])

    subspaces = cluster_identities(means, ids_per_subspace=100, seed=0)
    plan = Path(tempfile.mkdtemp(), "plan")
    config = PlanConfig(steps=steps, P=32, K=4, strategy="subspace")
    write_plan(plan, plan_batches(identities, subspaces.subspace_id, config, seed=0), identities)

    network.train()
    loss, optimizer = BatchOHNMLoss(), torch.optim.AdamW(network.parameters(), lr=3e-4)
    for step, (images, labels) in enumerate(DataLoader(dataset, batch_sampler=PlanBatchSampler(plan))):
        optimizer.zero_grad()
        value = loss(network(images), labels)
        value.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}: loss {value.item():.3f}, {loss.statistics.active_fraction:.0%} active")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
