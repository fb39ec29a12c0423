"""Slurm's memory and time."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subspace.mining.errors import InputError
from subspace.pipeline.config import parse_config
from subspace.pipeline.slurm_units import memory_quantity, seconds

BYTES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
NUMBER = st.integers(0, 10**6)


@given(st.integers(1, 10**6), st.sampled_from(["", *"KMGTkmgt"]))
def test_memory_is_the_same_number_of_bytes(number: int, unit: str) -> None:
    quantity = memory_quantity(f"{number}{unit}", "the jobs of train")
    in_slurm = number * 1024 ** {"K": 1, "": 2, "M": 2, "G": 3, "T": 4}[unit.upper()]
    assert int(quantity[:-2]) * BYTES[quantity[-2:]] == in_slurm


@given(NUMBER, NUMBER, NUMBER, NUMBER)
def test_times_are_as_slurm_reads_them(days: int, hours: int, minutes: int, secs: int) -> None:
    for text, expected in (
        (f"{minutes}", 60 * minutes),
        (f"{minutes}:{secs}", 60 * minutes + secs),
        (f"{hours}:{minutes}:{secs}", 3600 * hours + 60 * minutes + secs),
        (f"{days}-{hours}", 86400 * days + 3600 * hours),
        (f"{days}-{hours}:{minutes}", 86400 * days + 3600 * hours + 60 * minutes),
        (f"{days}-{hours}:{minutes}:{secs}", 86400 * days + 3600 * hours + 60 * minutes + secs),
    ):
        assert seconds(text, "the jobs of train") == (expected or None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24:00:00", 86400),
        ("2-00:00:00", 172800),
        ("30", 1800),
        ("02:30", 150),
        ("UNLIMITED", None),
        ("0", None),
    ],
)
def test_times_that_people_write(text: str, expected: int | None) -> None:
    assert seconds(text, "the jobs of train") == expected


@given(st.text(max_size=12))
def test_whatever_is_written_is_read_or_refused(text: str) -> None:
    for read in (memory_quantity, seconds):
        with contextlib.suppress(InputError):
            assert read(text, "the jobs of train") != 0


@pytest.mark.parametrize("text", ["", "G", "16 GB", "1.5G", "-1G", "0", "0G", "16Gi", "lots", "٣G"])
def test_memory_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="of the jobs of train"):
        memory_quantity(text, "the jobs of train")


@pytest.mark.parametrize("text", ["", "1h", "1:2:3:4", "2-", "-", "1-2-3", "1.5", "tomorrow", "٣"])
def test_time_that_is_none(text: str) -> None:
    with pytest.raises(InputError, match="of the jobs of train is no limit"):
        seconds(text, "the jobs of train")


def test_numbers_of_yaml_are_read_where_they_are_certain() -> None:
    for override, expected in (
        ("schedule.job.time=30", "30"), ("schedule.job.time='4:00:00'", "4:00:00"), ("schedule.job.mem=512", "512"),
    ):  # fmt: skip
        job = parse_config({"manifest": "m"}, [override], where="here").schedule.job
        assert expected in (job.time, job.mem)
    for clock in ("4:00:00", "1:30", "90"):
        with pytest.raises(InputError, match="put it in quotes"):
            parse_config({"manifest": "m"}, [f"schedule.job.time={clock}"], where="here")
