"""A plan in Accelerate, in one process or several: torchrun --nproc-per-node 2 examples/accelerate_loop.py ...

python examples/accelerate_loop.py MANIFEST PLAN, where `subspace plan RUN` has written RUN/round-000/plan
"""

import sys

import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from subspace.mining import Manifest
from subspace.train import BatchOHNMLoss, ImageStore, PlanBatchSampler, build_backbone, gather_batch


class Images(Dataset):
    """Any dataset that is indexed by image_id will do."""

    def __init__(self, manifest: Manifest, size: int) -> None:
        self.identity_id, self.store, self.size = manifest.identity_id, ImageStore(manifest), size

    def __getitem__(self, image_id: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(self.store.decode(image_id, self.size)), int(self.identity_id[image_id])


def main(manifest_path: str, plan: str) -> None:
    # Without a GPU, Accelerate takes each of several processes for the only one unless it is asked for the CPU.
    accelerator, manifest = Accelerator(cpu=not torch.cuda.is_available()), Manifest.open(manifest_path)
    network, loss = build_backbone("small", seed=0), BatchOHNMLoss()
    dataset = Images(manifest, network.input.size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-4)
    network, optimizer = accelerator.prepare(network, optimizer)

    # The loader is not prepared: Accelerate would deal whole batches out, and share each share once more.
    sampler = PlanBatchSampler(plan, rank=accelerator.process_index, world_size=accelerator.num_processes)
    for step, (images, labels) in enumerate(DataLoader(dataset, batch_sampler=sampler)):
        images, labels = images.to(accelerator.device), labels.to(accelerator.device)
        optimizer.zero_grad()
        value = loss(*gather_batch(network(images), labels))  # over the whole planned batch
        accelerator.backward(value)
        optimizer.step()
        accelerator.print(f"step {step}: loss {value.item():.6f}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
