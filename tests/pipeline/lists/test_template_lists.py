"""IJB's lists of templates: with a header, and InsightFace's without one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.pipeline.lists.template_lists import TemplateImages, TemplatePairs, read_template_list

IJB = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X\n7,ann,img/1.png,3,0\n7,ann,frames/2.png,4,0\n9,bob,img/1.png,5,0\n"
FACES = "1.jpg 7 3\n2.jpg 7 4\n1.jpg 9 5\n"


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_images_of_templates_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, "gallery_G1.csv", IJB)
    found = read_template_list(path)
    assert isinstance(found, TemplateImages)
    assert (found.names, found.image.tolist()) == (["img/1.png", "frames/2.png"], [0, 1, 0])
    assert (found.template_id.tolist(), found.media_id.tolist()) == ([7, 7, 9], [0, 1, 2])
    assert found.subjects() == {7: "ann", 9: "bob"}
    assert found.in_words() == f"{path}: 2 templates of 2 images (3 list rows, 3 media), 2 subjects"
    bare = read_template_list(written(tmp_path, "face_tid_mid.txt", FACES))
    assert isinstance(bare, TemplateImages)
    assert (bare.names, bare.template_id.tolist(), bare.subject) == (["1.jpg", "2.jpg"], [7, 7, 9], None)
    with pytest.raises(InputError, match="no column subject_id, which 1:N needs"):
        bare.subjects()


def test_pairs_of_templates_are_read(tmp_path: Path) -> None:
    said = read_template_list(written(tmp_path, "pair_label.txt", "7 9 0\n7 11 1\n"))
    assert isinstance(said, TemplatePairs)
    assert said.genuine(None).tolist() == [False, True]
    for name, text in (("match.csv", "7,9\n7,11\n"), ("own.csv", "template_a,template_b\n7,9\n7,11\n")):
        pairs = read_template_list(written(tmp_path, name, text))
        assert isinstance(pairs, TemplatePairs)
        assert (pairs.first.tolist(), pairs.second.tolist(), pairs.same) == ([7, 7], [9, 11], None)
        assert pairs.genuine({11: "ann", 7: "ann", 9: "bob"}).tolist() == [False, True]
        with pytest.raises(InputError, match="does not say which pairs are genuine"):
            pairs.genuine(None)
        with pytest.raises(InputError, match="template 11 is in no list"):
            pairs.genuine({7: "ann", 9: "bob"})
    assert np.array_equal(said.first, [7, 7])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (
            "a.csv",
            "template_id,filename\n1,a\n",
            "no list of templates: it has template_id, filename; images need",
        ),
        ("a.csv", IJB.replace("9,bob", "x,bob"), "row 3: 'template_id' is 'x', no whole number"),
        ("a.csv", IJB.replace("bob,img/1.png", "bob,"), "row 3: 'filename' is empty"),
        ("a.csv", IJB.splitlines()[0] + "\n", "has no rows"),
        ("a.csv", "template_a,template_b,same\n1,2,perhaps\n", "row 1: 'same' is 'perhaps'"),
        ("a.txt", "Ann\t1\t2\n", None),
        ("a.txt", "Ann 1 Bob 2\n", "line 1: 'Ann 1 Bob 2' is neither"),
        ("a.txt", "", "line 1: '' is neither"),
        ("a.txt", "1.jpg 7 3\n2.jpg 7\n", "cannot parse"),
    ],
)
def test_what_is_no_list_is_one_line(tmp_path: Path, name: str, text: str, line: str | None) -> None:
    path = written(tmp_path, name, text)
    if line is None:
        assert isinstance(read_template_list(path), TemplateImages)
        return
    with pytest.raises(InputError, match=line) as error:
        read_template_list(path)
    assert "\n" not in str(error.value)


def test_a_template_of_two_subjects_is_refused(tmp_path: Path) -> None:
    found = read_template_list(written(tmp_path, "a.csv", IJB.replace("7,ann,frames", "7,eve,frames")))
    assert isinstance(found, TemplateImages)
    with pytest.raises(InputError, match="template 7 is of two subjects, ann and eve"):
        found.subjects()
    for name in ("no.csv", "no.txt"):
        with pytest.raises(InputError, match="does not exist"):
            read_template_list(tmp_path / name)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([("a.csv", IJB), ("a.txt", FACES), ("m.csv", "7,9\n7,11\n")]), st.data())
def test_damaged_lists_are_refused_or_read(tmp_path: Path, of: tuple[str, str], data: st.DataObject) -> None:
    whole = bytearray(of[1].encode())
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place : place + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=3))
    (tmp_path / of[0]).write_bytes(bytes(whole))
    said = ""
    try:
        read_template_list(tmp_path / of[0])
    except InputError as error:
        said = str(error)
    assert "\n" not in said
