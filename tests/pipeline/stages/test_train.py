"""Fields of training stages: the names under which a stored run has its settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from subspace.pipeline.config import parse_config
from subspace.pipeline.stages.pretrain import pretrain_fields
from subspace.pipeline.stages.train import train_fields


def test_fields_keep_the_older_names_of_loss_settings() -> None:
    settings = {
        "manifest": "images.parquet",
        "pretrain": {"loss": "softmax + xbm:batch_all", "loss_args": {"xbm": {"memory_size": 9}}},
    }
    context: Any = SimpleNamespace(
        config=parse_config(settings, [], "test"),
        run=None,
        manifest=SimpleNamespace(fingerprint="f"),
        round_index=0,
    )
    fields = train_fields(context)
    assert fields["train.loss_args.multi_similarity.threshold"] == 0.8
    assert not any(key.endswith(".base") for key in fields)
    assert pretrain_fields(context)["pretrain.loss_args.xbm.size"] == 9
