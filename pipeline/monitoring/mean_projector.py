"""Means of validation identities for TensorBoard's projector, with their names and a picture each.

Those of the newest network that was validated, in `RUN/rounds/tensorboard`: the pictures of each of many rounds would
be gigabytes.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...mining.artifacts import make_folder, remove
from ...mining.manifest import Manifest
from ...mining.randomness import generator
from ...train.data.images import ImageStore
from .training_curves import identity_names

MOST_SHOWN = 1000
"""Identities that are shown at most, drawn by seed: TensorBoard's page holds all of them in memory."""
SPRITE = 32
"""Pixels of a side of each picture."""
CONFIG = "projector_config.pbtxt"
TAG = "validation_means"


def write_projector(
    folder: Path, embeddings: np.ndarray, image_id: np.ndarray, manifest: Manifest, *, seed: int, name: str
) -> None:
    """Write the projector's files into a folder of event files, in the place of older ones.

    Args:
        embeddings: float32[n, D], unit length.
        image_id: int64[n], whose they are.
        seed: which identities are shown, where they are too many.
        name: of the network, in the name of the table.
    """
    import torch
    from torch.utils.tensorboard import SummaryWriter

    identity, place = np.unique(manifest.identity_id[image_id], return_inverse=True)
    if len(identity) > MOST_SHOWN:
        drawn = generator(seed, "projector").choice(len(identity), MOST_SHOWN, replace=False)
        some = np.isin(place, drawn)
        embeddings, image_id, place = embeddings[some], image_id[some], place[some]
        place = np.unique(place, return_inverse=True)[1]
    means = np.zeros((int(place.max()) + 1, embeddings.shape[1]), np.float32)
    np.add.at(means, place, embeddings)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    first = np.unique(place, return_index=True)[1]
    pictures = np.stack([_picture(ImageStore(manifest), int(one)) for one in image_id[first]])
    names = [re.sub(r"\s+", " ", one) or "?" for one in identity_names(manifest, image_id[first])]
    make_folder(folder)
    remove(folder / CONFIG)
    for older in folder.glob(f"*/{TAG}*"):
        remove(older)
    with SummaryWriter(str(folder), filename_suffix=f".{TAG}") as writer:
        label = torch.from_numpy(pictures).float().div(255)
        writer.add_embedding(means, names, label, tag=f"{TAG}_{name}")
    for events in folder.glob(f"events.*.{TAG}"):
        events.unlink()  # it says nothing; the files lie beside it


def _picture(store: ImageStore, image_id: int) -> np.ndarray:
    """uint8[3, SPRITE, SPRITE]; grey where it cannot be read."""
    found = store.decode(image_id, SPRITE)
    return found if isinstance(found, np.ndarray) else np.full((3, SPRITE, SPRITE), 128, np.uint8)
