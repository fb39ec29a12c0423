"""Functions of the user's own: whose traceback an error shows, and what passes as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from subspace.mining.errors import InputError, OwnCodeError
from subspace.train.user_functions import blamed, find_function, with_article


@pytest.fixture
def users_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "users_code.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return inner(x)\n"
        "def inner(x):\n"
        "    raise ValueError('not today')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "users_code", raising=False)
    return "users_code"


def test_the_traceback_begins_in_the_users_code(users_code: str) -> None:
    path = list(sys.path)
    net = find_function(f"python:{users_code}:Net")()
    assert sys.path == path
    assert isinstance(net, torch.nn.Module)

    def call() -> None:
        net(torch.ones(1))

    with pytest.raises(OwnCodeError) as caught, blamed("python:users_code:Net"):
        call()
    assert str(caught.value) == "python:users_code:Net raised ValueError: not today"
    lines = caught.value.traceback.splitlines()
    files = [Path(line.split('"')[1]).name for line in lines if line.startswith("  File")]
    assert (files[0], files[-2:]) == (Path(__file__).name, ["users_code.py", "users_code.py"])
    assert lines[-1] == "ValueError: not today"
    assert isinstance(caught.value.__cause__, ValueError)


def test_memory_that_ran_out_and_our_own_errors_pass() -> None:
    for error in (InputError("known"), MemoryError("Unable to allocate 15.0 GiB for an array")):
        with pytest.raises(type(error)) as caught, blamed("python:a:b"):
            raise error
        assert caught.value is error


def test_an_article_fits_the_word() -> None:
    assert (with_article(1), with_article("x")) == ("an int", "a str")
