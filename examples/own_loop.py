"""The recommended plan and loss in a training loop of your own: plain torch, no run folder.

python examples/own_loop.py MANIFEST [STEPS]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from subspace import mining, train


class Images(Dataset):
    """Any dataset that is indexed by image_id will do."""

    def __init__(self, manifest: mining.Manifest, size: int) -> None:
        self.identity_id, self.store, self.size = manifest.identity_id, train.ImageStore(manifest), size

    def __getitem__(self, image_id: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.store.decode(image_id, self.size)), int(self.identity_id[image_id])


def main(manifest_path: str, steps: int = 100) -> None:
    manifest, device = mining.Manifest.open(manifest_path), train.pick_device()
    identities = manifest.identities_in(["train", "pretrain"])
    network = train.build_backbone("small", seed=0)
    dataset = Images(manifest, network.input.size)

    chunks = train.ImageChunks(identities.image_id, size=256)  # identity means, in one pass over the images
    decoded = train.DecodedBatches(dataset.store, chunks, dataset.size)
    embedded = train.embed(network, train.load_batches(decoded, range(len(chunks)), num_workers=0), device)
    blocks = ((manifest.identity_id[part.batch.image_id], part.embeddings) for part in embedded)
    means = np.concatenate([block.mean for block in mining.identity_means(blocks)])

    subspace_id = mining.cluster_identities(means, ids_per_subspace=100, seed=0).subspace_id
    config = mining.PlanConfig(steps=steps, P=32, K=4)  # a quarter of each batch is a group of look-alikes
    neighbors = mining.nearest_in_subspace(means, subspace_id, k=config.draw.group_size - 1)
    plan = mining.plan_batches(identities, subspace_id, config, neighbors=neighbors, seed=0)
    mining.write_plan(folder := Path(tempfile.mkdtemp(), "plan"), plan, identities)

    loader = DataLoader(dataset, batch_sampler=train.PlanBatchSampler(folder))
    loss = train.MultiSimilarityLoss(alpha=2, beta=20, base=0.8)
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=3e-4)
    for step, (images, labels) in enumerate(loader):
        optimizer.zero_grad()
        value = loss(network(images.to(device)), labels.to(device))
        value.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}: loss {value.item():.3f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
