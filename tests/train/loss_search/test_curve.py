"""The file of a loss curve: what is written is read, and hostile JSON is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.train.loss_search.curve import LossCurve, Piecewise, curve_fields, read_curve, terms_of
from subspace.train.losses.building import check_loss

CURVE = LossCurve(16.0, Piecewise((1.0, 0.5), (0.0, -0.1)), Piecewise((1.1,), (0.02,)), a=-3.5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def read(text: str | bytes, path: Path) -> LossCurve | str:
    """The curve, or what it is refused with, which must be one line that names the file."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        return read_curve(path)
    except InputError as error:
        said = str(error)
    assert str(path) in said
    assert "\n" not in said
    return said


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read(json.dumps(CURVE.to_json(search={"epochs": 3})), tmp_path / "c.json") == CURVE


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.sampled_from(["", "format", "scale", "t", "tau", "a", "t.slopes", "tau.biases"]), value=JSON)
def test_hostile_json_is_one_line(tmp_path: Path, place: str, value: Any) -> None:
    document = json.loads(json.dumps(CURVE.to_json()))
    if not place:
        document = value
    else:
        *above, key = place.split(".")
        (document[above[0]] if above else document)[key] = value
    found = read(json.dumps(document), tmp_path / "c.json")
    if isinstance(found, LossCurve):
        assert found.margin >= 0
        assert len(found.t.slopes) == len(found.t.biases) > 0


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.binary(max_size=60))
def test_any_bytes_are_one_line(tmp_path: Path, text: bytes) -> None:
    assert isinstance(read(text, tmp_path / "c.json"), str)


@pytest.mark.parametrize(("key", "value", "said"), [
    ("a", 0.5, "less than or equal to 0"), ("scale", 0, "greater than or equal to 0.001"),
    ("t", {"slopes": [1.0], "biases": []}, "t.biases"), ("tau", {"slopes": [1.0, 1.0], "biases": [0.0]}, "2 slopes, but 1 biases"),
    ("format", "onnx", "subspace loss curve"), ("a", "-1", "number"),
])  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, key: str, value: Any, said: str) -> None:
    found = read(json.dumps({**CURVE.to_json(), key: value}), tmp_path / "c.json")
    assert isinstance(found, str)
    assert said in found
    assert "search-loss" in found


def test_no_file_and_a_folder_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match=r"does not exist|is no loss curve"):
            read_curve(path)


@pytest.mark.parametrize("name", ["a curve.json", "resnet+arcface.json", "1+2|3.json"])
def test_a_training_depends_on_what_the_file_holds(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(CURVE.to_json()))
    one = curve_fields("train", f"searched:{path} + 0.5*batch_ohnm")
    path.write_text(json.dumps(CURVE.to_json(theta=[1.0])))
    again = f"searched:{path} + 0.5*batch_ohnm"
    assert curve_fields("train", again) == one  # what is for people changes nothing
    moved = path.rename(tmp_path / "moved.json")
    assert curve_fields("train", f"searched:{moved} + 0.5*batch_ohnm") == one  # nor does the place
    assert curve_fields("train", f"2*searched:{moved} + 0.5*batch_ohnm") != one
    moved.rename(path)
    path.write_text(json.dumps({**CURVE.to_json(), "a": -4.0}))
    assert curve_fields("train", f"searched:{path}") != one
    assert "missing" not in str(one)
    assert terms_of(f"softmax+2*searched:{path} + xbm:batch_ohnm") == [
        "softmax", f"2*searched:{path}", "xbm:batch_ohnm",
    ]  # fmt: skip
    check_loss(f"searched:{path} + 0.5*batch_ohnm", {})
