"""Wrong options are refused in one line before anything heavy is imported. Covers pipeline/protocols/request.py, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from subspace.mining import InputError
from subspace.pipeline.protocols.registry import PROTOCOLS, choose_protocols
from subspace.pipeline.protocols.request import ProtocolRequest


def test_protocols_keep_the_order_in_which_they_are_named_and_count_once() -> None:
    names = ["retrieval", "verification", "retrieval"]
    assert list(choose_protocols(names, ProtocolRequest())) == ["retrieval", "verification"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_metrics_of_a_protocol_are_metrics(name: str) -> None:
    row = PROTOCOLS[name]
    needed = {"pairs": Path("lfw.bin")} if "pairs" in row.needs else {}
    needed |= {"templates": (Path("t.csv"),)} if "templates" in row.needs else {}
    assert choose_protocols([name], ProtocolRequest(metrics=row.metrics, **needed))


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["verificaton"], {}, "choose from verification, .* did you mean verification?"),
        (["pairs"], {}, "--protocol pairs needs --pairs"),
        (["templates"], {}, "--protocol templates needs --templates"),
        (
            ["verification"],
            {"rerank": True},
            "--rerank goes with --protocol retrieval, not with verification",
        ),
        (["retrieval"], {"threshold": 0.4}, "--threshold goes with --protocol verification or pairs"),
        (
            ["retrieval"],
            {"metrics": ("TAR@FAR=1e-3",)},
            "--metrics TAR@FAR=1e-3: --protocol retrieval measures recall@1",
        ),
        (["retrieval"], {"metrics": ("recal@1",)}, "did you mean 'recall@1'"),
    ],
)
def test_what_does_not_go_together_is_refused(names: list[str], options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_protocols(names, ProtocolRequest(**options))


def test_thresholds_are_cosines_and_sides_come_in_pairs() -> None:
    with pytest.raises(InputError, match="--threshold 40: give a similarity"):
        ProtocolRequest(threshold=40)
    with pytest.raises(InputError, match="--query goes with --gallery"):
        ProtocolRequest(query=("test",))
    with pytest.raises(InputError, match="--gallery goes with --query"):
        ProtocolRequest(gallery=("test",))


def test_a_wrong_option_is_refused_without_torch(tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['subspace', 'eval', 'e.parquet', '--protocol', 'verification', '--rerank']\n"
        "from subspace.pipeline.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, {'torch', 'faiss', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout == "2 set()\n"
    assert done.stderr.startswith("subspace: --rerank goes with")
