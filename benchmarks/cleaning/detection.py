"""Noise that was put into the demo's names, and how much of it is found: precision, recall and F1 of each way to look.

python benchmarks/cleaning/detection.py CHECKPOINT [--seeds 3] [--kinds split ...]

The network is to have seen none of the images under wrong names: `subspace pretrain` of a run on the demo trains on other
identities. Ways: `subspace clean`; its method=overfit; confident learning (cleanlab, where it is installed) on
cross-validated probabilities by identity means; images farther from their mean than two standard deviations of their
identity, as is often done by hand; density, by nearest images.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from injected_noise import KINDS, SHARES, Found, Noisy, judge, lesser_halves, spoil

from subspace.mining.cleaning.identity_blocks import IdentityBlocks
from subspace.mining.cleaning.settings import CleanConfig
from subspace.mining.cleaning.suspects import find_suspects
from subspace.mining.manifest import Manifest
from subspace.train.checkpoint import load_network
from subspace.train.data.batches import DecodedBatches, ImageChunks
from subspace.train.data.images import ImageStore

DEMO = Path(__file__).resolve().parents[2] / "data_manifests" / "demo.parquet"
FOLDS, SCALE, NEAREST = 5, 16.0, 3

Way = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From embeddings float32[n, D] and identities int64[n] to suspects, bool[n]."""


def embed(checkpoint: str, manifest: Manifest, image_id: np.ndarray) -> np.ndarray:
    """Unit embeddings of these images, float32[n, D]."""
    network = load_network(f"checkpoint:{checkpoint}").eval()
    chunks = ImageChunks(image_id, 512)
    batches = DecodedBatches(ImageStore(manifest), chunks, network.input)
    with torch.inference_mode():
        found = [network(batches[place].images).float() for place in range(len(chunks))]
    return torch.cat(found).numpy()


def clean(method: str) -> Way:
    """What `subspace clean` drops, but for identities with too few images left."""

    def way(embeddings: np.ndarray, identity: np.ndarray) -> np.ndarray:
        blocks, settings = IdentityBlocks(embeddings, identity), CleanConfig(method=method, min_images=1)
        return ~find_suspects(blocks, settings).kept(blocks, settings)

    return way


def confident_learning(embeddings: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Northcutt, Jiang and Chuang 2021, by cleanlab: each image judged by the means of the other four folds."""
    from cleanlab.filter import find_label_issues

    labels = np.unique(identity, return_inverse=True)[1]
    fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    probabilities = np.empty((len(labels), labels.max() + 1))
    for held in range(FOLDS):
        means = np.zeros((labels.max() + 1, embeddings.shape[1]))
        np.add.at(means, labels[fold != held], embeddings[fold != held])
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        logits = np.exp(SCALE * embeddings[fold == held] @ means.T)
        probabilities[fold == held] = logits / logits.sum(axis=1, keepdims=True)
    return find_label_issues(labels, probabilities, n_jobs=1)


def two_deviations(embeddings: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Images whose cosine to their mean is two standard deviations of their identity below its average."""
    suspected = np.zeros(len(identity), bool)
    for images in np.split(np.arange(len(identity)), np.flatnonzero(np.diff(identity)) + 1):
        mean = embeddings[images].mean(axis=0)
        cosine = embeddings[images] @ mean / max(1e-9, float(np.linalg.norm(mean)))
        suspected[images] = cosine < cosine.mean() - 2 * cosine.std()
    return suspected


def nearest_images(embeddings: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Images in a thinner place among their own identity than among all others: by the cosines of the `NEAREST` nearest of both."""
    sizes = np.bincount(identity)
    own, other = np.full(len(identity), -1.0), np.empty(len(identity))
    for start in range(0, len(identity), 1024):
        rows = np.arange(start, min(start + 1024, len(identity)))
        cosine = embeddings[rows] @ embeddings.T
        same = identity[rows, None] == identity
        other[rows] = -np.sort(-np.where(same, -1, cosine), axis=1)[:, :NEAREST].mean(axis=1)
        cosine[np.arange(len(rows)), rows] = -1
        near = -np.sort(-np.where(same, cosine, -1), axis=1)[:, :NEAREST]
        own[rows] = [
            row[: max(1, min(NEAREST, size - 1))].mean()
            for row, size in zip(near, sizes[identity[rows]], strict=True)
        ]
    return own < other


WAYS: dict[str, Way] = {
    "clean": clean("strangers"),
    "clean, overfit": clean("overfit"),
    "cleanlab": confident_learning,
    "mean - 2 sd": two_deviations,
    "nearest images": nearest_images,
}


def pairs_found(embeddings: np.ndarray, noisy: Noisy) -> Found:
    """Of split identities: pairs of duplicates that are listed."""
    found = find_suspects(IdentityBlocks(embeddings, noisy.identity)).suspects["duplicate"]
    listed = {
        tuple(sorted(pair))
        for pair in zip(found.identity.tolist(), found.other_identity.tolist(), strict=True)
    }
    places = np.unique(noisy.identity)
    true = {tuple(sorted(pair)) for pair in np.searchsorted(places, noisy.pairs).tolist()}
    hits = len(listed & true)
    return Found(hits / len(listed) if listed else np.nan, hits / len(true) if true else np.nan)


def main() -> None:
    """Print a row for each kind, share and way: means over the seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    given = parser.parse_args()
    manifest = Manifest.open(DEMO)
    images, others = manifest.identities_in(("train",)), manifest.identities_in(("test",))
    identity = np.repeat(np.arange(len(images)), images.count)
    embeddings = embed(given.checkpoint, manifest, np.concatenate([images.image_id, others.image_id]))
    ways = {name: way for name, way in WAYS.items() if name in given.ways}
    try:
        import cleanlab  # noqa: F401
    except ImportError:
        ways.pop("cleanlab", None)
    print(f"{len(identity):,} images of {len(images):,} identities\n")
    print(
        "| noise | share | way | suspects | precision | recall | F1 | seconds |\n|---|---|---|---|---|---|---|---|"
    )
    for kind in given.kinds:
        for share in SHARES if kind == KINDS[0] else SHARES[1:]:
            noise = [spoil(identity, kind, share, len(others.image_id), seed) for seed in range(given.seeds)]
            for name, way in {"clean": pairs_found}.items() if kind == "split" else ways.items():
                results, suspects, started = [], [], time.perf_counter()
                for noisy in noise:
                    if kind == "split":
                        results.append(pairs_found(embeddings[noisy.row], noisy))
                    else:
                        suspected = way(embeddings[noisy.row], noisy.identity)
                        suspects.append(suspected.mean())
                        wrong = lesser_halves(suspected, noisy) if kind == "merged" else noisy.wrong
                        results.append(judge(suspected, wrong))
                seconds = (time.perf_counter() - started) / len(noise)
                cells = (np.mean([found[place] for found in results]) for place in (0, 1))
                figures = [*cells, np.mean([found.f1 for found in results])]
                shown = " | ".join("" if np.isnan(figure) else f"{figure:.1%}" for figure in figures)
                share_of = f"{np.mean(suspects):.1%}" if suspects else ""
                print(f"| {kind} | {share:.0%} | {name} | {share_of} | {shown} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
