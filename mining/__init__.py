"""Numbers in, numbers out: identity means, subspaces, batch plans, triplets and retrieval metrics.

The names below are stable. They are imported on first use, so that importing one part (or asking the
command line for help) does not load FAISS, torch and Arrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy_names import import_on_first_use

if TYPE_CHECKING:  # the same names once more, for type checkers and editors
    from .clustering.duplicates import Duplicates as Duplicates
    from .clustering.duplicates import suspected_duplicates as suspected_duplicates
    from .clustering.hardness import batch_hardness as batch_hardness
    from .clustering.means import IdentityMeans as IdentityMeans
    from .clustering.means import identity_means as identity_means
    from .clustering.neighbors import nearest_in_subspace as nearest_in_subspace
    from .clustering.neighbors import neighbor_recall as neighbor_recall
    from .clustering.settings import SubspaceConfig as SubspaceConfig
    from .clustering.subspaces import Subspaces as Subspaces
    from .clustering.subspaces import cluster_identities as cluster_identities
    from .embedding_files import EmbeddingWriter as EmbeddingWriter
    from .embedding_files import embedding_writer as embedding_writer
    from .embedding_table import EmbeddingTable as EmbeddingTable
    from .errors import InputError as InputError
    from .errors import StaleArtifactError as StaleArtifactError
    from .errors import StoppedEarly as StoppedEarly
    from .errors import SubspaceError as SubspaceError
    from .errors import SubspaceWarning as SubspaceWarning
    from .evaluation.coverage import coverage_at_precision as coverage_at_precision
    from .evaluation.identification import rank_k_rates as rank_k_rates
    from .evaluation.intervals import Metric as Metric
    from .evaluation.mated_probes import MatedProbes as MatedProbes
    from .evaluation.pairs import EvaluationPairs as EvaluationPairs
    from .evaluation.pairs import evaluation_pairs as evaluation_pairs
    from .evaluation.registry import Evaluation as Evaluation
    from .evaluation.registry import compute_metrics as compute_metrics
    from .evaluation.settings import EvalConfig as EvalConfig
    from .evaluation.verification import TarAtFar as TarAtFar
    from .evaluation.verification import tar_at_far as tar_at_far
    from .manifest import IdentityImages as IdentityImages
    from .manifest import Manifest as Manifest
    from .planning.batch_plan import PlanBlock as PlanBlock
    from .planning.batch_plan import plan_batches as plan_batches
    from .planning.plan_table import write_plan as write_plan
    from .planning.settings import PlanConfig as PlanConfig
    from .triplets import Triplets as Triplets
    from .triplets import mine_batch_ohnm as mine_batch_ohnm
    from .triplets import mine_offline as mine_offline

_NAMES = {
    "clustering.duplicates": ["Duplicates", "suspected_duplicates"],
    "clustering.hardness": ["batch_hardness"],
    "clustering.means": ["IdentityMeans", "identity_means"],
    "clustering.neighbors": ["nearest_in_subspace", "neighbor_recall"],
    "clustering.settings": ["SubspaceConfig"],
    "clustering.subspaces": ["Subspaces", "cluster_identities"],
    "embedding_files": ["EmbeddingWriter", "embedding_writer"],
    "embedding_table": ["EmbeddingTable"],
    "errors": ["InputError", "StaleArtifactError", "StoppedEarly", "SubspaceError", "SubspaceWarning"],
    "evaluation.coverage": ["coverage_at_precision"],
    "evaluation.identification": ["rank_k_rates"],
    "evaluation.intervals": ["Metric"],
    "evaluation.mated_probes": ["MatedProbes"],
    "evaluation.pairs": ["EvaluationPairs", "evaluation_pairs"],
    "evaluation.registry": ["Evaluation", "compute_metrics"],
    "evaluation.settings": ["EvalConfig"],
    "evaluation.verification": ["TarAtFar", "tar_at_far"],
    "manifest": ["IdentityImages", "Manifest"],
    "planning.batch_plan": ["PlanBlock", "plan_batches"],
    "planning.plan_table": ["write_plan"],
    "planning.settings": ["PlanConfig"],
    "triplets": ["Triplets", "mine_batch_ohnm", "mine_offline"],
}
__getattr__, __dir__, __all__ = import_on_first_use(__name__, _NAMES)
