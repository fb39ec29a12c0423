"""Metrics asked for by name, or by `ks` and `fars`; a wrong name is refused before anything is done."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from subspace.mining.errors import InputError
from subspace.mining.evaluation.registry import FAMILIES
from subspace.mining.evaluation.settings import EvalConfig, ValidationConfig
from subspace.pipeline.configuration.config_file import parse_config

KNOWN = ", ".join(family.example for family in FAMILIES.values())


def test_without_names_they_are_those_of_ks_and_fars() -> None:
    assert EvalConfig().metric_names == ("Rank-1", "Rank-5", "TAR@FAR=1e-2", "TAR@FAR=1e-3", "TAR@FAR=1e-4")
    settings = ValidationConfig(ks=(1, 20), fars=(1e-2, 1.5e-4))
    assert settings.metric_names == ("Rank-1", "Rank-20", "TAR@FAR=1e-2", "TAR@FAR=1.5e-4")


def test_names_are_brought_to_one_spelling() -> None:
    names = ("coverage@P=0.950", "TAR@FAR=0.001", "Rank-1", "TAR@FAR=1e-3")
    assert EvalConfig(metrics=names, ks=(7,)).metric_names == ("coverage@P=0.95", "TAR@FAR=1e-3", "Rank-1")


@pytest.mark.parametrize("section", ["eval", "validation"])
def test_a_wrong_name_is_refused_with_its_setting(section: str) -> None:
    with pytest.raises(InputError) as error:
        parse_config({"manifest": "m.parquet"}, [f"{section}.metrics=[Rank-1,coverage@0.9]"], "run.yaml")
    assert str(error.value) == (
        f"unknown metric 'coverage@0.9'; choose from {KNOWN}, with numbers of your own; "
        f"did you mean 'coverage@P=0.9'? ({section}.metrics, run.yaml)"
    )
    with pytest.raises(InputError, match=f"{section}.metrics=.*at least 1 item"):
        parse_config({"manifest": "m.parquet"}, [f"{section}.metrics=[]"], "run.yaml")


@pytest.mark.parametrize("model", [EvalConfig, ValidationConfig])
@pytest.mark.parametrize(
    "wrong", [{"ks": [0]}, {"ks": [1, -1]}, {"fars": [2]}, {"fars": [0]}, {"fars": [0.1, 1]}]
)
def test_ranks_and_rates_out_of_range_are_refused(model: type[EvalConfig], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"give ranks of 1 or more|give rates between 0 and 1"):
        model.model_validate(wrong)


def test_settings_load_neither_torch_nor_faiss() -> None:
    script = (
        "import sys, subspace.mining.evaluation.settings\n"
        "sys.exit(str({'torch', 'faiss', 'pyarrow'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
