"""JSON that nobody can use is refused in one line, whatever it holds and however large or deep it is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.artifacts import write_json
from subspace.mining.errors import InputError, StaleArtifactError
from subspace.mining.json_documents import (
    DEEPEST,
    MOST_BYTES,
    Document,
    damaged,
    parse_json,
    read_document,
    read_json,
)

REFUSED = {
    "not UTF-8": b'{"a": "\xff"}',
    "empty": b" \n",
    "cut short": b'{"a": [1, 2',
    "NaN": b'{"a": NaN}',
    "infinite": b"[-Infinity]",
    "too large for a float": b"[1e999]",
    "5,000 digits": b"[" + b"9" * 5000 + b"]",
    "400 digits": b"[" + b"9" * 400 + b"]",
    "nested": b"[" * 100_000,
    "nested, closed": b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
    "objects, nested": b'{"a":' * 100_000,
    "half a character": rb'{"a": "\ud800"}',
    "half a character as a key": rb'{"\udfff": 1}',
    "UTF-16": "{}".encode("utf-16"),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_nobody_can_use_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        parse_json(data)
    path = tmp_path / "a.json"
    path.write_bytes(data)
    for read, kind in (
        (lambda: read_json(path), InputError),
        (lambda: read_document(path, Document, "remake it"), StaleArtifactError),
    ):
        with pytest.raises(kind) as error:
            read()
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 300 + len(str(path))


def test_json_comes_back_in_its_order(tmp_path: Path) -> None:
    value = {"zoë": [1, 2.5, None], "a": {"b": "\n"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert list(read_json(tmp_path / "a.json")) == ["zoë", "a"]
    assert parse_json(b"\xef\xbb\xbf{}") == {}  # editors of Windows begin files so
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "none.json")


def test_only_plain_files_of_a_sensible_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "large.json").touch()
    os.truncate(tmp_path / "large.json", MOST_BYTES + 1)
    os.mkfifo(tmp_path / "pipe.json")  # reading it would wait for ever
    (tmp_path / "loop.json").symlink_to("loop.json")
    for name in ("large.json", "pipe.json", "loop.json", ".", "a" * 300):
        with pytest.raises(InputError):
            read_json(tmp_path / name)


class Winner(Document):
    network: str
    value: float


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", "it holds a list where an object is wanted"),
        ("null", "it holds null where an object is wanted"),
        ("{}", "it has no network"),
        ('{"network": "start"}', "it has no value"),
        ('{"network": 3, "value": 1}', "network is 3, input should be a valid string"),
        ('{"network": "a", "value": true}', "value is true, input should be a valid number"),
        ('{"network": "a", "value": [1]}', "value is a list, input should be a valid number"),
    ],
)
def test_a_document_of_another_kind_is_told_where_it_differs(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "best.json"
    path.write_text(text)
    with pytest.raises(StaleArtifactError) as error:
        read_document(path, Winner, "`subspace run RUN` writes it anew")
    assert str(error.value) == f"{path} is damaged: {why}; `subspace run RUN` writes it anew"
    assert error.value.change == "best.json is damaged"


def test_keys_of_later_versions_pass(tmp_path: Path) -> None:
    value = {"network": "start", "value": 1, "later": [1]}
    write_json(tmp_path / "a.json", value)
    assert read_document(tmp_path / "a.json", Winner, "") == value
    assert damaged(tmp_path / "a.json", "why", "what").exit_code == 3


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        parse_json(data)


def test_a_line_quotes_no_more_than_fits_into_one(tmp_path: Path):
    class Quoting(Document):
        network: str

        def model_post_init(self, context: object) -> None:
            raise ValueError(f"network {self.network} has no validation")

    (tmp_path / "best.json").write_text('{"network": "' + "[" * 50_000 + '"}')
    for remedy in (None, "`subspace run` writes it anew"):
        with pytest.raises((InputError, StaleArtifactError), match="is damaged: network") as refused:
            read_document(tmp_path / "best.json", Quoting, remedy)
        assert len(str(refused.value)) < 1_000
