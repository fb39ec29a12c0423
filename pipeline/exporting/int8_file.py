"""ONNX with weights and activations of 8 bits, and what that costs: cosines to the float embeddings, Rank-1.

Activations get their scale when the file runs, one for a whole batch (dynamic quantisation), so no images are needed
to make it, and an image's embedding depends a little on the others in its batch.

B images, H × W pixels, D numbers in an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .agreement import Embedder
from .onnx_file import describe
from .sample_images import SampleImages
from .traced_program import quiet

BATCH = 32


@dataclass(frozen=True)
class Int8Loss:
    """What 8 bits cost on images of the run."""

    images: int
    mean_cosine: float
    """Cosine of each image's two embeddings."""
    worst_cosine: float
    rank_1: tuple[float, float] | None
    """Rank-1 of float and of int8, over the same probes and gallery; None where no identity has two images."""

    def in_words(self) -> str:
        """One line for a person."""
        found = f"cosine to the float embeddings {self.mean_cosine:.4f} on average, {self.worst_cosine:.4f} at worst"
        if self.rank_1 is not None:
            found += f"; Rank-1 {100 * self.rank_1[0]:.1f} % in float, {100 * self.rank_1[1]:.1f} % in int8"
        return f"{found} ({self.images:,} images)"


def write_int8(source: Path, target: Path, description: dict[str, str]) -> None:
    """Quantise the ONNX file `source` into `target`; its metadata says so."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        # Unsigned weights: onnxruntime's integer convolution on CPUs takes a slow way with signed ones.
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)
    model = onnx.load(str(target))
    describe(model, {**description, "quantization": "int8, dynamic"})
    onnx.save_model(model, str(target))


def int8_loss(in_float: Embedder, in_int8: Embedder, sample: SampleImages) -> Int8Loss:
    """Compare two files on the same images."""
    exact, rough = _embedded(in_float, sample.images), _embedded(in_int8, sample.images)
    cosines = (exact * rough).sum(1)
    rank_1 = None
    if sample.probes is not None:
        rank_1 = (_rank_1(exact, sample), _rank_1(rough, sample))
    return Int8Loss(len(exact), float(cosines.mean()), float(cosines.min()), rank_1)


def _embedded(embed: Embedder, images_BCHW: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [embed(images_BCHW[start : start + BATCH]) for start in range(0, len(images_BCHW), BATCH)]
    )


def _rank_1(embeddings_BD: np.ndarray, sample: SampleImages) -> float:
    """Share of probes whose nearest gallery image is of their identity; the images before the probes are the gallery."""
    probes = slice(sample.probes, None)
    gallery = slice(0, sample.probes)
    nearest = (embeddings_BD[probes] @ embeddings_BD[gallery].T).argmax(1)
    return float((sample.identity_id[gallery][nearest] == sample.identity_id[probes]).mean())
