"""The Dockerfile, as far as it can be looked at without building it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
DOCKERFILE = REPOSITORY / "Dockerfile"


def hadolint(path: Path) -> str:
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run([program, path], capture_output=True, text=True, check=False).stdout


def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    assert hadolint(DOCKERFILE) == ""
    (tmp_path / "Dockerfile").write_text("FROM python\nRUN cd /src && sudo pip install torch\n")
    assert len(hadolint(tmp_path / "Dockerfile").splitlines()) > 2


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    sources = {source for copy in copies for source in copy.split()}
    kept = {
        line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert sources == kept
    assert all((REPOSITORY / source).exists() for source in sources)


def test_both_stages_run_as_a_user_without_rights() -> None:
    for stage in ("cpu", "cuda"):
        text = DOCKERFILE.read_text().split(f" AS {stage}\n")[1].split("\nFROM ")[0]
        assert "--constraint constraints.txt" in text
        assert text.index("USER $UID") > text.rindex("RUN ")
