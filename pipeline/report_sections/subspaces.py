"""The subspaces: their sizes, how many true neighbours they keep together, and how they change from round to round."""

from __future__ import annotations

import numpy as np

from ...mining.parquet_tables import read_parquet
from ...mining.schemas import CENTROIDS
from ..console import percent
from ..montages.batch import settings_of
from ..report.chart import Chart
from ..report.chart_kinds import PERCENT, dots_over_rounds, histogram_bars
from ..report.run_report import RunReport
from ..report.section import Section, fill_section
from ..stage_words import one_subspace_in_words, span

TITLE = "The subspaces"
MOST_BARS = 30
RECALL = "recall@10"


def make_subspaces(report: RunReport) -> Section:
    """Sizes, r@10 and churn; these two of the rounds that have several subspaces."""
    rounds = {
        f"round {folder.index}": summary
        for folder in report.rounds
        if folder.finished("cluster")
        and (summary := folder.record("cluster")["summary"]).get("subspaces") != 1
    }
    latest = report.latest("cluster")
    if latest is None:
        return fill_section(
            "subspaces", TITLE, answer="The identities have not been clustered yet.", charts=[]
        )
    summary, over_rounds = latest.record("cluster")["summary"], [*_recall(rounds), *_churn(rounds)]
    if summary.get("subspaces") == 1:
        everybody = summary.get("largest")
        size = f" of {everybody:,} identities" if everybody else ""
        batches = one_subspace_in_words(settings_of(latest, report.settings.plan))
        answer = f"In round {latest.index} there is one subspace{size}: {batches}."
        return fill_section("subspaces", TITLE, answer=answer, charts=over_rounds)
    sizes = read_parquet(latest.centroids, CENTROIDS, ["size"])["size"].to_numpy()
    charts = [_sizes(sizes, f"round {latest.index}"), *over_rounds]
    return fill_section("subspaces", TITLE, answer=_answer(sizes, summary, latest.index), charts=charts)


def _answer(sizes: np.ndarray, summary: dict, index: int) -> str:
    words = (
        f"In round {index} there are {len(sizes):,} subspaces of {span(sizes.min(), sizes.max())} identities."
    )
    if summary.get(RECALL) is not None:
        words += f" {percent(summary[RECALL])} of an identity's 10 nearest neighbours are in its own subspace (r@10)"
        gain = summary.get("gain")
        words += f": they meet {gain:.1f} times more often than in random batches." if gain else "."
    return words


def _sizes(sizes: np.ndarray, name: str) -> Chart:
    bars = min(MOST_BARS, 3 + round(2 * len(sizes) ** 0.5))
    edges = np.unique(np.linspace(sizes.min(), sizes.max() + 1, bars + 1).round().astype(np.int64))
    counts, _ = np.histogram(sizes, edges)
    bins = [
        {"from": int(low), "to": int(high), "count": int(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    sentence = f"Half of the subspaces of {name} hold {np.median(sizes):,.0f} identities or fewer; the largest holds {sizes.max() / sizes.mean():.2f} times the mean."
    return Chart(
        "sizes",
        "Sizes of the subspaces",
        f"Bars: how many subspaces hold how many identities. {sentence}",
        sentence,
        histogram_bars(bins, title="identities in a subspace", unit="subspaces"),
        ["identities", "subspaces"],
        [[span(row["from"], row["to"] - 1), f"{row['count']:,}"] for row in bins if row["count"]],
        height=180,
    )


def _recall(rounds: dict[str, dict]) -> list[Chart]:
    known = {name: summary[RECALL] for name, summary in rounds.items() if summary.get(RECALL) is not None}
    if not known:
        return []
    least, most = (percent(value, 1) for value in (min(known.values()), max(known.values())))
    share = most if least == most else f"Between {least} and {most}"
    sentence = (
        f"{share} of the 10 nearest neighbours share the subspace. It is measured on a sample of identities."
    )
    rows = [
        {"round": name, "series": "r@10", "value": round(100 * value, 2)} for name, value in known.items()
    ]
    return [
        Chart(
            "recall",
            "Neighbours that stay together (r@10)",
            f"A dot for each round, in percent. {sentence}",
            sentence,
            dots_over_rounds(rows, list(known), ["r@10"], axis=PERCENT, number=".1f"),
            ["round", "r@10", "more often than in random batches"],
            [
                [name, percent(value, 1), f"{rounds[name]['gain']:.1f} x" if rounds[name].get("gain") else ""]
                for name, value in known.items()
            ],
            height=180,
        )
    ]


def _churn(rounds: dict[str, dict]) -> list[Chart]:
    known = {name: summary["kept"] for name, summary in rounds.items() if summary.get("kept") is not None}
    if not known:
        return []
    name, last = list(known.items())[-1]
    sentence = (
        f"The subspaces of {name} are like those of the round before to {last:.2f}: 1 would be the same groups, "
        "0 groups drawn at random (adjusted Rand index)."
    )
    rows = [{"round": name, "series": "kept", "value": round(value, 4)} for name, value in known.items()]
    return [
        Chart(
            "churn",
            "Likeness to the subspaces of the round before",
            f"A dot for each round. {sentence}",
            sentence,
            dots_over_rounds(rows, list(known), ["kept"], limits=(min(0.0, *known.values()), 1.0)),
            ["round", "adjusted Rand index"],
            [[name, f"{value:.3f}"] for name, value in known.items()],
            height=180,
        )
    ]
