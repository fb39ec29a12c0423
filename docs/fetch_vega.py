"""Fetch Vega, Vega-Lite and Vega-Embed, which draw the charts of a report, from npm's packages into pipeline/report/vega.

python docs/fetch_vega.py

Needs npm. A newer version: change it and its checksum here (`npm view NAME@VERSION dist.integrity`), and run it.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent.parent / "pipeline" / "report" / "vega"


class Package(NamedTuple):
    """A version of a package of npm."""

    name: str
    version: str
    integrity: str
    """Of the whole package, as npm has it."""


PACKAGES = (
    Package(
        "vega",
        "6.2.0",
        "sha512-BIwalIcEGysJdQDjeVUmMWB3e50jPDNAMfLJscjEvpunU9bSt7X1OYnQxkg3uBwuRRI4nWfFZO9uIW910nLeGw==",
    ),
    Package(
        "vega-lite",
        "6.4.1",
        "sha512-KO3ybHNouRK4A0al/+2fN9UqgTEfxrd/ntGLY933Hg5UOYotDVQdshR3zn7OfXwQ7uj0W96Vfa5R+QxO8am3IQ==",
    ),
    Package(
        "vega-embed",
        "7.1.0",
        "sha512-ZmEIn5XJrQt7fSh2lwtSdXG/9uf3yIqZnvXFEwBJRppiBgrEWZcZbj6VK3xn8sNTFQ+sQDXW5sl/6kmbAW3s5A==",
    ),
)


def fetch(package: Package, folder: Path) -> None:
    """Write the script and the licence of a package into a folder.

    Raises:
        ValueError: npm sent something else than what is pinned.
    """
    with tempfile.TemporaryDirectory() as aside:
        asked = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
        subprocess.run(asked, cwd=aside, check=True, stdout=subprocess.DEVNULL)
        archive = Path(aside, f"{package.name}-{package.version}.tgz")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if package.integrity != f"sha512-{digest}":
            raise ValueError(
                f"{archive.name} has the checksum sha512-{digest}, and {package.integrity} is meant"
            )
        with tarfile.open(archive) as files:
            script = _text(files, f"package/build/{package.name}.min.js")
            licence = _text(files, "package/LICENSE")
    folder.mkdir(exist_ok=True)
    # whose map of the source is not brought along
    script = re.sub(r"\n//# sourceMappingURL=.*", "", script.rstrip())
    (folder / f"{package.name}.min.js").write_text(script + "\n", encoding="utf-8")
    (folder / f"{package.name}.LICENSE").write_text(licence, encoding="utf-8")


def _text(files: tarfile.TarFile, name: str) -> str:
    member = files.extractfile(name)
    if member is None:
        raise ValueError(f"{name} is no file")
    return member.read().decode()


if __name__ == "__main__":
    for package in PACKAGES:
        fetch(package, FOLDER)
        print(f"{FOLDER / package.name}.min.js: {package.version}")
