"""Commands that inspect: data, surrogates, the installation, a chip, and gradients of a run."""

import json
import math
import os
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import (
    Json,
    NetFile,
    NoPlot,
    RunPath,
    app,
    check_spares_run,
    file_option,
    no_plot_option,
    picture_lines,
    picture_option,
    print_report,
)
from nwavesdk.cli.help import SectionedCommand
from nwavesdk.cli.options import DATA_FIELDS, add_run_choices, surrogate_texts
from nwavesdk.internal.checks import shown
from nwavesdk.internal.imports import missing_packages, require

__all__ = ["diagnose_run", "inspect_data", "list_surrogates", "print_info", "scan_run"]

Recordings = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=1_000_000, help="Recordings to use. [the run's batch]"),
]


@app.command("data", cls=SectionedCommand)
@add_run_choices(
    "task.name",
    "task.look_ahead",
    "chip.profile",
    "net.dt",
    *DATA_FIELDS,
    "data.folds",
    "data.leave_one_out",
    "data.fold",
    "seed",
)
def inspect_data(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="A folder or file with recordings (docs/data.md lists the formats), or digits.",
        ),
    ],
    choices: dict[str, Any],
    plot: Annotated[Path | None, picture_option("File of the picture. [data.png]")] = None,
    no_plot: NoPlot = False,
    as_json: Json = False,
) -> None:
    """Read the recordings of PATH as `nwave train` does; report and draw what a net gets.

    With --chip, sound passes the filter bank of the chip, which is drawn, too.
    """
    from nwavesdk.analysis import data_lines, data_report
    from nwavesdk.train import RunConfig
    from nwavesdk.train.data.load import complete_data

    picture = None if no_plot else plot or Path("data.png")
    if picture is not None:
        require("matplotlib", "train")
    source = str(path) if str(path) == "digits" else os.path.realpath(path)
    data_choices = {**choices.get("data", {}), "source": source}
    if {"folds", "leave_one_out"} & data_choices.keys():
        data_choices.setdefault("fold", 1)
    net = dict(choices.get("net", {}))
    if choices.get("chip"):
        # No net is made: the smallest one fits on every chip.
        net |= {"hidden": (1,), "population": 1}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "skipped ")  # the report lists them
        choices = {**choices, "data": data_choices, "net": net}
        config, data = complete_data(RunConfig.of(choices))
    report = data_report(config, data, is_task_given="task" in choices)
    if picture is not None:
        from nwavesdk.analysis.data_examples import plot_data

        plot_data(picture, config, data)
    lines = [*data_lines(report), *picture_lines(picture)]
    print_report(as_json, {**report, "plot": picture}, lines)


@app.command("surrogates")
def list_surrogates(
    plot: Annotated[Path | None, picture_option("File of the picture. [surrogates.png]")] = None,
    no_plot: NoPlot = False,
    as_json: Json = False,
) -> None:
    """List the surrogates with formula, defaults, peak and area, and draw them."""
    from nwavesdk.analysis import catalogue_shapes

    picture = None if no_plot else plot or Path("surrogates.png")
    shapes = catalogue_shapes()
    if picture is not None:
        require("matplotlib", "train")
        from nwavesdk.analysis.pictures import plot_derivatives

        plot_derivatives(picture)
    head = f"{'name and defaults':<51} {'peak':>7} {'area':>7} {'width':>11}  "
    lines = [f"{head}derivative at z = u − threshold", *map(_surrogate_line, shapes)]
    content = {"surrogates": shapes, "plot": picture}
    lines.append("Width: the full width at half height.")
    print_report(as_json, content, lines + picture_lines(picture))


def _surrogate_line(shape: dict[str, Any]) -> str:
    defaults = ", ".join(f"{name}={value:g}" for name, value in shape["defaults"].items())
    area = _number_or_none(shape["area"])
    width = _number_or_none(shape["half_width"])
    name = f"{shape['name']}({defaults})"
    return f"{name:<51} {shape['peak']:>7.4g} {area:>7} {width:>11}  {shape['formula']}"


def _number_or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


@app.command("info")
def print_info(
    chip: Annotated[
        str | None,
        typer.Option(
            metavar="h1v1|h1v2|FILE", help="Print the numbers of a chip and their sources instead."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print versions, the machine and missing extras; with --chip, the numbers of a chip."""
    if chip is not None:
        _print_chip(chip, as_json)
        return
    import torch

    from nwavesdk.solvers.sparse.crossover import active_table
    from nwavesdk.train.config.facts import Origin

    facts: dict[str, Any] = {
        **Origin.current().model_dump(),
        "threads": torch.get_num_threads(),
        "crossovers": active_table().source,
    }
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    missing_of = missing_packages()
    states = {
        name: {"complete": not missing, "missing": missing} for name, missing in missing_of.items()
    }
    lines = [f"{name:<10} {value}" for name, value in facts.items()]
    lines.append(f"{'cuda':<10} {', '.join(devices) or 'none'}")
    for name, missing in missing_of.items():
        remedy = f"lacks {', '.join(missing)}: pip install '.[{name}]' in a clone of nwavesdk"
        lines.append(f"{name:<10} {remedy if missing else 'complete'}")
    print_report(as_json, {**facts, "cuda": devices, "extras": states}, lines)


def _print_chip(source: str, as_json: bool) -> None:
    from nwavesdk.chip import load_profile

    profile = load_profile(source)
    lines = [f"{profile.name}: * is assumed; put measured numbers in a profile of your own"]
    for key, entry in profile.entries.items():
        values = entry.value if isinstance(entry.value, tuple) else (entry.value,)
        text = " ".join(f"{v:g}" if isinstance(v, float) else v for v in values) or "none"
        mark = "*" if entry.source == "assumed" else " "
        unit = "" if entry.unit == "1" else entry.unit
        lines.append(f"{mark} {key:<21} {text} {unit}")
        lines.append(f"{'':<24}{entry.source}: {entry.note}")
    print_report(as_json, json.loads(profile.to_json()), lines)


@app.command("slopes")
def scan_run(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|CONFIG", help="Folder of a run; or a config, for initial weights."
        ),
    ],
    surrogates: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…", help="Candidates, as in 'fast_sigmoid(5),atan(2)'. [22 of three kinds]"
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Recommend surrogates of this name. [the run's own]"),
    ] = None,
    recordings: Recordings = None,
    net: NetFile = None,
    plot: Annotated[
        Path | None, picture_option("File of the picture. [RUN/pictures/slopes.png]")
    ] = None,
    page: Annotated[Path | None, file_option("File of the page. [RUN/slopes.html]")] = None,
    no_plot: Annotated[bool, no_plot_option("Write no picture, no page.")] = False,
    as_json: Json = False,
) -> None:
    """Measure which gradient reaches each layer under which surrogate; recommend one per layer."""
    from nwavesdk.analysis.run_batch import RunBatch
    from nwavesdk.analysis.slopes.report import SlopeReport
    from nwavesdk.surrogate import arctan, available, parse

    texts = [] if surrogates is None else surrogate_texts("--surrogates", surrogates)
    grid = [parse(text) for text in texts] or None
    kinds = available() | {"arctan": arctan}
    if kind is not None and kind not in kinds:
        raise ValueError(
            f"--kind: got {shown(kind)}, expected one of {', '.join(sorted(available()))}."
        )
    check_spares_run("--page", page, run)
    batch = RunBatch.open(run, recordings, net)
    report = SlopeReport.of(batch, grid, None if kind is None else kinds[kind])
    picture = None if no_plot else plot or batch.pictures / "slopes.png"
    if picture is not None:
        from nwavesdk.analysis.slopes.report import plot_slopes, write_page

        plot_slopes(picture, report)
        page = page or (run if run.is_dir() else Path(".")) / "slopes.html"
        write_page(page, report, batch)
    lines = [f"{_batch_text(batch)}, loss {report.loss:.4g}; {report.seconds:.2f} s"]
    lines += report.lines()
    if picture is not None:
        lines.append(f"drawn in {picture}; look at {page}")
    files = {"plot": picture, "page": None if picture is None else page}
    print_report(as_json, {**_batch_facts(run, batch), **report.as_json(), **files}, lines)


def _batch_text(batch: Any) -> str:
    return f"{len(batch.y)} recordings, {batch.weights} weights"


def _batch_facts(run: Path, batch: Any) -> dict[str, Any]:
    return {"run": run, "weights": batch.weights, "recordings": len(batch.y)}


@app.command("diagnose")
def diagnose_run(
    run: RunPath,
    recordings: Recordings = None,
    net: NetFile = None,
    as_json: Json = False,
) -> None:
    """Find dead, saturated and starved neurons, bad gradients, and time constants that do not fit.

    Spikes are counted over the whole training set, gradients are those of one batch.

    Each finding ends in a remedy: options with which to train again, or what to change in the net.
    """
    from nwavesdk.analysis import examine_memory, examine_recording
    from nwavesdk.analysis.remedies import with_remedies
    from nwavesdk.analysis.run_batch import RunBatch
    from nwavesdk.analysis.slopes import RecordedPass
    from nwavesdk.net import connection_sparsity

    batch = RunBatch.open(run, recordings, net)
    recorded = RecordedPass(batch.net, batch.x, batch.loss, batch.chip, lengths=batch.lengths)
    evaluated = batch.evaluate()
    score_name, score = next(iter(evaluated.measures.items()))
    gradients = recorded.charge_gradients()
    health = examine_recording(recorded.recording, gradients, rates=evaluated.neuron_rates)
    memories, misfits = examine_memory(batch.net, recorded.recording)
    names = batch.layer_names([layer.layer for layer in health.layers])
    rates = {layer.layer: layer.rate for layer in health.layers}
    findings = with_remedies((*health.findings, *misfits), batch.config, names, rates, score)
    loss = recorded.loss.item()
    sparsity = connection_sparsity(batch.net)
    content = {
        **_batch_facts(run, batch),
        "loss": loss,
        "training_recordings": len(evaluated.lengths),
        f"training_{score_name}": score,
        "uncovered": recorded.uncovered,
        "sparsity": sparsity,
        "layers": [
            {"name": names[layer.layer], **_finite_values(layer)} for layer in health.layers
        ],
        "memory": [_finite_values(memory) for memory in memories],
        "findings": [_finite_values(finding) for finding in findings],
    }
    lines = [
        f"{_batch_text(batch)}, loss {loss:.4g}; spikes of all {len(evaluated.lengths):,} training "
        f"recordings, {score_name} {score:.4g}",
        "layers of neurons, in brackets their modules in the net:",
        *_layer_lines(health.layers, names),
        *(_memory_line(memory, names[memory.layer]) for memory in memories),
    ]
    for kind in dict.fromkeys(finding.kind for finding in findings):
        of_kind = [finding for finding in findings if finding.kind == kind]
        remedies = dict.fromkeys(f"Remedy: {finding.remedy}." for finding in of_kind)
        lines += ["", kind.upper(), *(finding.text for finding in of_kind), *remedies]
    if not findings:
        lines.append("no problem found")
    if any(sparsity.values()):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in sparsity.items())
        lines.append(f"Connections of weight 0: {shares}.")
    if recorded.uncovered:
        lines.append(f"Not examined, without neurons: {', '.join(recorded.uncovered)}.")
    print_report(as_json, content, lines)


def _layer_lines(layers: Any, names: dict[str, str]) -> list[str]:
    """A table of spikes and gradients, and the growth through recurrent loops."""
    width = max(len(name) for name in ("layer", *names.values()))
    lines = [
        f"{'layer':<{width}}      rate    dead  saturated  starved  gradient  of the last's"
        "  early / late"
    ]
    for layer in layers:
        fractions = f"{layer.dead:>8.0%}{layer.saturated:>11.0%}{layer.starved:>9.0%}"
        gradients = f"{layer.norm:>10.2e}{layer.depth:>15.3g}{layer.time:>14.3g}"
        name = names[layer.layer]
        lines.append(f"{name:<{width}}{layer.rate:>10.3g}{fractions}{gradients}")
    for layer in layers:
        if layer.growth is not None:
            gain = "" if layer.loop_gain is None else f"gain {layer.loop_gain:.2g}, "
            lines.append(
                f"recurrent loop of {names[layer.layer]}: {gain}gradients × {layer.growth:.3g} "
                "per step"
            )
    return lines


def _memory_line(memory: Any, name: str) -> str:
    from nwavesdk.analysis.memory import time_text

    taus = " to ".join(dict.fromkeys(map(time_text, (memory.shortest, memory.longest))))
    has_inputs = math.isfinite(memory.interval)
    inputs = f"an input every {time_text(memory.interval)}" if has_inputs else "no input"
    alike = time_text(memory.correlation) if math.isfinite(memory.correlation) else "all steps"
    return f"memory of {name}: time constants {taus}; {inputs}, alike for {alike}"


def _finite_values(instance: object) -> dict[str, Any]:
    """The fields of an object for JSON, which has neither infinity nor NaN."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in vars(instance).items()
    }
