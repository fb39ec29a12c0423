"""Draw the ablations from the stored results: one PNG each in docs/ablations.

python benchmarks/quality/draw.py [NAME ...]
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

import matplotlib.pyplot as plt
from ablations import ABLATIONS, Ablation, Point
from glyph_sets import REPOSITORY

OUT = REPOSITORY / "docs" / "ablations"
COLUMNS = {"rank1_10k": "Rank-1 among 10,000, %", "tar_1e-5": "TAR@FAR=1e-5, %"}


def main(names: Sequence[str]) -> None:
    """Draw the ablations of these names, or all that have results."""
    unknown = set(names) - set(ABLATIONS)
    if unknown:
        sys.exit(f"no ablation {min(unknown)!r}; there are {', '.join(ABLATIONS)}")
    for ablation in ABLATIONS.values():
        measured = {point: point.row().read() for point in ablation.points if point.row().result.exists()}
        if (not names or ablation.name in names) and measured:
            _draw(ablation, measured)


def _draw(ablation: Ablation, measured: dict[Point, dict[str, float]]) -> None:
    figure, panels = plt.subplots(1, len(COLUMNS), figsize=(9, 3.6), layout="constrained")
    for panel, (column, title) in zip(panels, COLUMNS.items(), strict=True):
        lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for point, result in measured.items():
            lines[point.line].append((point.x, 100 * result[column]))
        for line, points in lines.items():
            panel.plot(*zip(*sorted(points), strict=True), marker="o", label=line)
        panel.set_ylabel(title)
        panel.set_xlabel(ablation.axis)
        panel.grid(alpha=0.3)
        if ablation.logarithmic:
            ticks = sorted({point.x for point in measured})
            panel.set_xscale("log")
            panel.set_xticks(ticks, [f"{tick:,.0f}" if tick >= 1 else f"{tick:g}" for tick in ticks])
            panel.minorticks_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(ablation.title)
    OUT.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT / f"{ablation.name}.png", dpi=110)
    plt.close(figure)
    print(OUT / f"{ablation.name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])
