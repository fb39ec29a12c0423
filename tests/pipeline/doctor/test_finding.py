"""What is said of a finding."""

from __future__ import annotations

from subspace.pipeline.doctor.finding import Finding, as_json


def test_advice_stands_below_and_facts_are_keys() -> None:
    finding = Finding("disk", "1 GB free", "free some", {"free": 10**9})
    assert finding.lines() == ["disk           1 GB free", "               -> free some"]
    assert Finding("cores", "2").lines() == ["cores          2"]
    assert as_json([finding]) == [
        {"name": "disk", "value": "1 GB free", "advice": "free some", "broken": False, "free": 10**9}
    ]
