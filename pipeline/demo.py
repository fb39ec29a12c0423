"""`subspace demo`: random batches against subspaces on the shipped glyphs, from one start, for equal steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..mining.artifacts import remove
from ..mining.errors import InputError
from ..mining.local_paths import in_shell
from ..mining.manifest import Manifest
from .configuration.config import RunConfig
from .configuration.config_file import load_config, parse_config, write_config
from .console import about, aligned
from .learning_rate.families import SEARCHED_RATES
from .options import Options
from .report.run_report import RunReport
from .report_sections.all_sections import report_file, report_run
from .rounds import run_rounds
from .run_directory import RunDirectory
from .stages.context import Context
from .stages.evaluate import evaluations, in_percent
from .stages.graph import rows_of
from .stages.held_out import HeldOut
from .stages.pretrain import cost_of_pretraining, pretrain_network

SHIPPED = Path(__file__).resolve().parent.parent / "data_manifests" / "demo.parquet"

SETTINGS: dict[str, Any] = {
    "rounds": 2,
    "pretrain": {
        "steps": 400,
        "P": 48,
        "K": 4,
        "save_every": 100,
        "optimizer": {"lr": 2e-3, "warmup_steps": 50},
    },
    "extract": {"batch_size": 512, "max_images": None},
    "recluster": {"refresh": "extract"},
    "plan": {"steps": 400, "P": 40, "K": 4, "strategy": "subspace"},
    "train": {
        "loss": "batch_ohnm",
        "save_every": 100,
        "optimizer": {"lr": SEARCHED_RATES["small"], "warmup_steps": 30},
    },
    "eval": {"probes_per_identity": None},
}
"""Both runs. They differ in `cluster.ids_per_subspace` alone."""

IDS_PER_SUBSPACE = 100
FEWEST_SUBSPACES = 4
"""With fewer, subspaces would hardly differ from random batches."""
BACKWARD = 3
"""To train on an image takes so many times as long as to embed it."""
MEASURING = 0.15
"""What is measured and written between the stages, as a share of them."""


def run_demo(
    out: Path, seed: int, manifest_path: Path | None, options: Options, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Run `out/demo-start`, `demo-random` and `demo-subspace`, and print one table.

    Killed, it continues where it stopped. The figures are whatever they are.

    Args:
        overrides: settings of all three runs, `section.key=value`.

    Raises:
        InputError: the shipped data is not beside the package (installed as a wheel) and no manifest is given; a manifest
            without test identities; a wrong setting.
    """
    manifest_path = manifest_path or SHIPPED
    if not manifest_path.is_file():
        raise InputError(
            f"{manifest_path} does not exist; run the demo in a clone of the repository, or pass --manifest"
        )
    manifest = Manifest.open(manifest_path)
    config = demo_settings(manifest, seed, overrides)
    start, random, subspace = (RunDirectory(out / f"demo-{name}") for name in ("start", "random", "subspace"))
    if options.force and not options.dry_run:
        for run in (start, random, subspace):
            with run.locked("demo"):
                for path in run.path.iterdir():
                    if path.name != ".lock":
                        remove(path)
        options = dataclasses.replace(options, force=False)

    say = options.console.say
    what = f"{len(manifest):,} images of {manifest.identities:,} identities"
    if manifest_path == SHIPPED:
        what = (
            f"{len(manifest):,} glyph images; every character is an identity, every typeface an image of it"
        )
    say(what)
    say()
    if options.dry_run:
        return run_rounds(Context(start, config, manifest, options))

    if not start.start.finished("pretrain"):
        say(
            f"three trainings and what they are judged by: {about(_seconds(Context(start, config, manifest, options)))}"
        )
        say()
    say("1. The starting network: softmax over a part of the identities")
    _begin(start, config)
    with start.locked("demo"):
        pretrain_network(Context(start, config, manifest, options))

    settings = config.model_dump(mode="json")
    from_start = {"model": f"checkpoint:{start.start.checkpoint.resolve()}", "pretrain": {"steps": 0}}
    with_subspaces = settings["cluster"]
    for run, title, cluster in (
        (
            random,
            "2. Random batches: one subspace holds all identities",
            {**with_subspaces, "ids_per_subspace": "all"},
        ),
        (subspace, "3. Subspaces: every batch from one group of look-alikes", with_subspaces),
    ):
        say()
        say(title)
        config = parse_config({**settings, **from_start, "cluster": cluster}, [], "demo")
        _begin(run, config)
        with run.locked("demo"):
            run_rounds(Context(run, config, manifest, options))

    results = _results(random, subspace)
    options.console.say_lines("\n" + result_table(results))
    for line in ("", _reading(results), ""):
        say(line)
    report = RunReport.open(subspace.path, seed=seed, baseline=random.path)
    report_run(report, page := report_file(subspace), options.console)
    for line in (
        "",
        "What was written, and how to look at it:",
        f"  {page.resolve().as_uri()}    # the report: open it in a browser",
    ):
        say(line)
    last = subspace.round(config.rounds - 1)
    for path, what in (
        (subspace.path, "where the time went"),
        (last.subspaces, "sizes of the subspaces"),
        (last.plan, "how hard the batches are"),
        (last.checkpoint, "the trained network"),
    ):
        say(f"  subspace inspect {in_shell(path)}    # {what}")
    say(f"  tensorboard --logdir {out}    # loss, active triplets, distances")
    return results


def _seconds(start: Context) -> float:
    """What a demo takes: images are trained on as fast as in pretraining, of which some steps are timed here."""
    from ..train.checkpoint import load_network
    from ..train.data.images import ImageStore
    from ..train.devices import pick_device
    from ..train.speed import embedding_work
    from .stages.examination import cost_of_examination

    config, manifest, options = start.config, start.manifest, start.options
    pretrain, plan, runs = config.pretrain, config.plan, 2
    network = load_network(
        config.model,
        embedding_size=config.embedding_size,
        preprocess=config.preprocess,
        weights=config.weights,
        allow_code=config.allow_code,
    )
    train = start.training_identities().image_id
    embedding = embedding_work(
        network, ImageStore(manifest, config.data.decoder), train, len(train), pick_device(options.device),
        config.extract.precision, batch_size=config.extract.batch_size, num_workers=config.extract.num_workers,
    )  # fmt: skip
    seconds = runs * config.rounds * embedding.seconds
    for held, mistakes in ((HeldOut.test(config), True), (HeldOut.validation(config), False)):
        if held.problem(manifest) is None:
            one = cost_of_examination(network, config, manifest, options, held, mistakes=mistakes)
            seconds += runs * (config.rounds + 1) * one.seconds
    learned = cost_of_pretraining(start)
    trained = runs * config.total_steps * plan.P * plan.K
    if isinstance(learned, str):
        seconds += trained * BACKWARD * embedding.seconds / len(train)
    else:
        seconds += learned.seconds * (1 + trained / (pretrain.steps * pretrain.P * pretrain.K))
    return (1 + MEASURING) * seconds


def demo_settings(manifest: Manifest, seed: int, overrides: Sequence[str] = ()) -> RunConfig:
    """The settings of the start and of the run with subspaces; few identities get smaller subspaces, four at least.

    Raises:
        InputError: a manifest without test identities, of which nothing could be said; a wrong setting.
    """
    values: dict[str, Any] = {"manifest": str(manifest.path.resolve()), "seed": seed, **SETTINGS}
    config = parse_config(values, overrides, "demo")
    if "pretrain" not in manifest.splits and config.data.pretrain_splits == ("pretrain",):
        values["data"] = {"pretrain_splits": ["train"]}  # one's own data: the start learns from all of it
    if not manifest.in_splits(config.data.test_splits).any():
        raise InputError(
            f"{manifest.path} has nobody to test on (its splits: {', '.join(manifest.splits)}); hold some identities out: "
            "`subspace ingest --test-fraction 0.2`"
        )
    identities = len(manifest.identities_in(config.data.train_splits))
    size = max(2, min(IDS_PER_SUBSPACE, identities // FEWEST_SUBSPACES))
    values["cluster"] = {"ids_per_subspace": size}
    values["plan"] = {**SETTINGS["plan"], "P": min(SETTINGS["plan"]["P"], size)}
    return parse_config(values, overrides, "demo")


def _begin(run: RunDirectory, config: RunConfig) -> None:
    if run.config.exists() and load_config(run.config) != config:
        raise InputError(
            f"{run.path} holds a demo with other settings; pass --force to throw it away, or another --out"
        )
    if not run.config.exists():
        write_config(run.config, config)


def _results(random: RunDirectory, subspace: RunDirectory) -> dict[str, Any]:
    results: dict[str, Any] = {"start": {"metrics": evaluations(random)["start"]["metrics"]}}
    for name, run in (("random", random), ("subspace", subspace)):
        trained = [run.round(index).record("train") for index in run.rounds]
        mined = [
            run.round(index).record(stage.name)["seconds"]
            for index in run.rounds
            for stage in rows_of("round")
            if not stage.trains
        ]
        active = [marker["summary"]["active_fraction"] for marker in trained]
        results[name] = {
            "metrics": evaluations(run)[run.round(run.latest_round).name]["metrics"],
            "active_fraction": None if None in active else sum(active) / len(active),
            "train_seconds": sum(marker["summary"]["seconds"] for marker in trained),
            "mining_seconds": sum(mined),
        }
    return results


def result_table(results: dict[str, Any]) -> str:
    """Start, random and subspace down; metrics, active triplets and time across."""
    metrics = list(results["start"]["metrics"])
    rows = [["batches", *metrics, "active triplets", "training", "mining"]]
    for name, result in results.items():
        cells = [in_percent(result["metrics"][metric]) for metric in metrics]
        trained, active = "active_fraction" in result, result.get("active_fraction")
        rows.append(
            [
                name,
                *cells,
                f"{active:.1%}" if active is not None else "",
                f"{result['train_seconds']:.0f} s" if trained else "",
                f"{result['mining_seconds']:.0f} s" if trained else "",
            ]
        )
    return aligned(rows)


def _reading(results: dict[str, Any]) -> str:
    """One sentence on the outcome, whichever it is; empty where no figure could be measured of all three."""
    measured = [
        name
        for name in results["start"]["metrics"]
        if all(result["metrics"][name]["value"] is not None for result in results.values())
    ]
    if not measured:
        return ""
    metric = "Rank-1" if "Rank-1" in measured else measured[0]
    values = {name: 100 * result["metrics"][metric]["value"] for name, result in results.items()}
    return (
        f"{metric} on unseen identities, in percent with 95 % intervals: {values['start']:.1f} at the start, "
        f"{values['random']:.1f} after random batches, {values['subspace']:.1f} after subspaces."
    )
