"""Images of a run's manifest to measure a file on: one gallery image and one probe of some test identities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...mining.errors import InputError
from ...mining.manifest import Manifest
from ...mining.randomness import generator
from ...train.data.image_input import ImageInput
from ...train.data.images import BadImage, ImageStore
from ..configuration.config import RunConfig
from ..faults.unreadable_images import UnreadableImages
from ..stages.held_out import HeldOut

IDENTITIES = 256
"""So that measuring takes seconds."""


@dataclass(frozen=True)
class SampleImages:
    """Decoded images: the gallery first, then the probes."""

    images: np.ndarray
    """uint8[B, 3, H, W]."""
    identity_id: np.ndarray
    """int32[B]."""
    probes: int | None
    """Where the probes begin; None where no identity has two images, and these are any images."""


def draw_samples(manifest: Manifest, config: RunConfig, input: ImageInput) -> SampleImages:
    """Up to 256 test identities, or 512 images of any where no test identity has two; a function of the run's seed.

    Raises:
        InputError: none of them can be read, or more cannot than `data.max_bad_fraction` allows.
    """
    random = generator(config.seed, "export sample")
    try:
        gallery, probe, _ = HeldOut.test(config).choose_images(manifest)
    except InputError:  # no pairs to be had
        kept = np.flatnonzero(manifest.keep)
        drawn = np.sort(random.choice(kept, min(2 * IDENTITIES, len(kept)), replace=False))
        return _decoded(manifest, config, input, drawn, None)
    gallery = np.sort(random.choice(gallery, min(IDENTITIES, len(gallery)), replace=False))
    first = np.unique(manifest.identity_id[probe], return_index=True)[1]
    probe = probe[first][np.isin(manifest.identity_id[probe[first]], manifest.identity_id[gallery])]
    return _decoded(manifest, config, input, np.concatenate((gallery, probe)), len(gallery))


def _decoded(
    manifest: Manifest, config: RunConfig, input: ImageInput, image_id: np.ndarray, probes: int | None
) -> SampleImages:
    """Without what cannot be read."""
    store, images, readable, bad = ImageStore(manifest), [], [], []
    for place, number in enumerate(image_id.tolist()):
        image = store.decode(number, input)
        if isinstance(image, BadImage):
            bad.append(image)
        else:
            images.append(image)
            readable.append(place)
    if not images:
        raise InputError(f"{manifest.path}: none of {len(image_id):,} images can be read; restore them")
    read = UnreadableImages(config.data, store)
    read.count(len(image_id), len(bad), next(iter(bad), None))
    if read.is_over():
        raise InputError(read.problem(read.first))
    if probes is not None:
        probes = int(np.searchsorted(readable, probes))
        if probes in (0, len(readable)):
            probes = None
    return SampleImages(np.stack(images), manifest.identity_id[image_id[readable]], probes)
