"""How good embeddings are: each metric by its name, with a 95 % interval over identities.

    settings        EvalConfig and ValidationConfig: who is compared, and by which metrics
    pairs           which images are compared: gallery, probes, distractors
    mated_probes    checked embeddings, each probe with its mate, and the similarities of all others in tiles
    intervals       a metric's value between the bounds of its bootstrap interval
    similarity_counts how many gallery rows are as similar to a query as its thresholds, in tiles, on any device
    identification  Rank-k
    open_set        DIR@FAR: probes with and without a mate
    matches         which gallery images a query should find, which are left out, and where they are in its ranking
    retrieval       recall@k, mAP, mAP@R, R-precision, MRR, mINP
    reranking       k-reciprocal re-ranking
    reciprocal_neighbors each image's nearest images, and those that have it among theirs
    roc             the ROC curve of scores, counted by levels; thresholds and their rates
    impostor_scores scores of all impostor pairs in one pass: counts, and a sample for the bootstrap
    verification    TAR@FAR and EER, over all pairs or listed ones
    verification_metrics  TAR@FAR and EER with their thresholds, from a curve and its replicates
    ten_fold        the 10-fold accuracy of pair lists such as LFW's, and VAL@FAR
    templates       IJB's templates: images to media to templates, 1:1 and 1:N
    coverage        coverage at a precision
    mistakes        probes that resemble another identity more than their own, the worst first
    memory          what metrics take beside the embeddings, for what is announced
    registry        the metrics by name, and all that are asked for at once

The names below are stable. They are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import import_on_first_use

if TYPE_CHECKING:  # the same names once more, for type checkers and editors
    from .coverage import coverage_at_precision as coverage_at_precision
    from .identification import rank_k_rates as rank_k_rates
    from .intervals import Metric as Metric
    from .intervals import percentile_interval as percentile_interval
    from .mated_probes import MatedProbes as MatedProbes
    from .open_set import DirAtFar as DirAtFar
    from .open_set import open_set_rates as open_set_rates
    from .pairs import EvaluationPairs as EvaluationPairs
    from .pairs import evaluation_pairs as evaluation_pairs
    from .registry import AskedMetric as AskedMetric
    from .registry import Evaluation as Evaluation
    from .registry import compute_metrics as compute_metrics
    from .registry import parse_metric as parse_metric
    from .reranking import KReciprocal as KReciprocal
    from .reranking import k_reciprocal_distance as k_reciprocal_distance
    from .retrieval import Retrieval as Retrieval
    from .retrieval import retrieval_metrics as retrieval_metrics
    from .roc import Roc as Roc
    from .settings import EvalConfig as EvalConfig
    from .settings import ValidationConfig as ValidationConfig
    from .templates import Templates as Templates
    from .templates import identify_templates as identify_templates
    from .templates import template_embeddings as template_embeddings
    from .ten_fold import FoldMetric as FoldMetric
    from .ten_fold import ten_fold_accuracy as ten_fold_accuracy
    from .ten_fold import validation_rate as validation_rate
    from .verification import equal_error_rates as equal_error_rates
    from .verification import tar_at_far as tar_at_far
    from .verification import verify_all_pairs as verify_all_pairs
    from .verification import verify_pairs as verify_pairs
    from .verification_metrics import EqualErrorRate as EqualErrorRate
    from .verification_metrics import TarAtFar as TarAtFar
    from .verification_metrics import Verification as Verification

_NAMES = {
    "coverage": ["coverage_at_precision"],
    "identification": ["rank_k_rates"],
    "intervals": ["Metric", "percentile_interval"],
    "mated_probes": ["MatedProbes"],
    "pairs": ["EvaluationPairs", "evaluation_pairs"],
    "open_set": ["DirAtFar", "open_set_rates"],
    "reranking": ["KReciprocal", "k_reciprocal_distance"],
    "retrieval": ["Retrieval", "retrieval_metrics"],
    "registry": ["AskedMetric", "Evaluation", "compute_metrics", "parse_metric"],
    "roc": ["Roc"],
    "settings": ["EvalConfig", "ValidationConfig"],
    "templates": ["Templates", "identify_templates", "template_embeddings"],
    "ten_fold": ["FoldMetric", "ten_fold_accuracy", "validation_rate"],
    "verification_metrics": ["EqualErrorRate", "TarAtFar", "Verification"],
    "verification": [
        "equal_error_rates",
        "tar_at_far",
        "verify_all_pairs",
        "verify_pairs",
    ],
}
__getattr__, __dir__, __all__ = import_on_first_use(__name__, _NAMES)
