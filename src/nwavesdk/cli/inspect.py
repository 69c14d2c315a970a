"""Commands that inspect data and runs: `nwave data`, `eval`, `slopes` and `diagnose`."""

import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import nwavesdk
from nwavesdk.cli.app import (
    Json,
    NetFile,
    NoPlot,
    RunPath,
    aligned,
    app,
    check_combinations,
    check_spares_run,
    file_option,
    measures_text,
    picture_file,
    picture_option,
    print_report,
    record_table,
    split_commas,
)
from nwavesdk.cli.options import DATA_FIELDS, MORE_OPTIONS, SectionedCommand, add_run_choices
from nwavesdk.internal.files import FileError
from nwavesdk.train.config import merge_choices

__all__ = ["diagnose_run", "eval_run", "inspect_data", "scan_run"]

Recordings = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=1_000_000, help="Recordings to use. [the run's batch]"),
]

# Head and key of the columns of `nwave diagnose`.
LAYER_COLUMNS = {
    "layer": "name",
    "rate": "rate",
    "dead": "dead",
    "saturated": "saturated",
    "starved": "starved",
    "gradient": "norm",
    "relative to last": "depth",
    "early / late": "time",
    "loop gain": "loop_gain",
    "growth per step": "growth",
}
MEMORY_COLUMNS = {
    "memory of": "name",
    "shortest tau [s]": "shortest",
    "longest tau [s]": "longest",
    "input every [s]": "interval",
    "correlated for [s]": "correlation",
}


@app.command("data", cls=SectionedCommand, epilog=MORE_OPTIONS)
@add_run_choices(
    "task.name",
    "task.times",
    "task.look_ahead",
    "chip.profile",
    "net.dt",
    *DATA_FIELDS,
    "data.folds",
    "data.leave_one_out",
    "data.fold",
    "seed",
)
@check_combinations(["--no-plot", "--plot"])
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
    """Read the recordings of PATH as `nwave train` does; report and draw the input of a net.

    With --chip, sound passes the filter bank of the chip.
    """
    from nwavesdk.train.data.load import complete_data

    picture = picture_file(plot, no_plot, Path("data.png"))
    data_choices = {**choices.get("data", {}), "source": str(path)}
    if {"folds", "leave_one_out"} & data_choices.keys():
        data_choices.setdefault("fold", 1)
    if "chip" in choices:
        # No net is made: the smallest one fits on every chip.
        choices = merge_choices(choices, {"net": {"hidden": (1,), "population": 1}})

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "skipped ")  # the report lists them
        requested = nwavesdk.train.RunConfig.of({**choices, "data": data_choices})
        config, data = complete_data(requested)
    report = nwavesdk.analysis.data_report(config, data, is_task_given="task" in choices)
    if picture is not None:
        from nwavesdk.analysis.data_picture import draw_data

        nwavesdk.plot.theme.write_png(picture, partial(draw_data, config, data, report))
    print_report(as_json, {**report, "plot": picture}, nwavesdk.analysis.data_lines(report))


@app.command("eval")
@check_combinations(["--weight-bits", "--neurobench"], needs={"--test": "--weight-bits"})
def eval_run(
    run: RunPath,
    net: NetFile = None,
    neurobench: Annotated[
        bool,
        typer.Option(
            "--neurobench",
            help="Also measure with the harness of NeuroBench.",
        ),
    ] = False,
    weight_bits: Annotated[
        int | None,
        typer.Option(
            min=4,
            max=8,
            help="Compare the net with the same net with inputs of 8 bits and weights of this "
            "number of bits, on the validation set.",
        ),
    ] = None,
    test: Annotated[
        bool, typer.Option("--test", help="With --weight-bits, compare on the test set instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the net of RUN from its config and its weights, and test it again."""
    from nwavesdk.data.folder import SKIP_REMEDY

    try:
        opened = nwavesdk.train.Run.open(run, net)
        if weight_bits is not None:
            compared = opened.test_rounded(weight_bits, "test" if test else "val")
            print_report(as_json, {"run": run, **compared}, _rounding_lines(compared))
            return
        result = opened.test()
    except FileError as error:  # the run is tested on all of its recordings
        raise ValueError(str(error).replace(f"; {SKIP_REMEDY}", "")) from None

    score = next(iter(result))  # test_accuracy or test_r2
    recorded = opened.folder.read_result().get(score) if opened.folder.finished else None
    content = {"run": run, **result, f"recorded_{score}": recorded}
    n_recordings = result["recordings"]
    unit = "part{} of the stream" if score == "test_misses" else "recording{}"
    lines = [
        f"{measures_text(result)} on {n_recordings} {unit.format('s' * (n_recordings != 1))} "
        "(recorded: "
        f"{'none' if recorded is None else format(recorded, '.4f')})"
    ]
    if neurobench:
        content["neurobench"], table = _neurobench(opened)
        lines += table
    print_report(as_json, content, lines)


def _rounding_lines(compared: dict[str, Any]) -> list[str]:
    """The measures of the float and of the rounded net."""
    bits, step = compared["weight_bits"], compared["input_step"]
    return [
        f"{measures_text(compared['float'])}: float weights",
        f"{measures_text(compared['rounded'])}: {bits}-bit weights, inputs in steps of {step:g}",
    ]


def _neurobench(run: Any) -> tuple[dict[str, Any], list[str]]:
    """The measures of NeuroBench's harness on the test set of a run, as JSON and as lines."""
    from nwavesdk.interop.neurobench_eval import measure_net

    trained = run.trained()
    measured = measure_net(trained.net, run.test_set, trained.task)
    rows = [(f"NeuroBench, {measured.recordings} recordings", "")]
    rows += [(name, f"{number:,.10g}") for name, number in measured.numbers.items()]
    return vars(measured), aligned(rows)


@app.command("slopes")
@check_combinations(["--no-plot", "--plot"], ["--no-plot", "--page"])
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
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Write no picture, no page.")] = False,
    as_json: Json = False,
) -> None:
    """Measure which gradient reaches each layer under which surrogate; recommend one per layer."""
    from nwavesdk.analysis.run_batch import RunBatch
    from nwavesdk.analysis.slopes.report import SlopeReport, slopes_picture, write_page

    texts = [] if surrogates is None else split_commas("--surrogates", surrogates)
    recommended = None if kind is None else type(nwavesdk.surrogate.parse(kind))
    check_spares_run("--page", page, run)

    batch = RunBatch.open(run, recordings, net)
    report = SlopeReport.of(
        batch, [nwavesdk.surrogate.parse(text) for text in texts] or None, recommended
    )

    lines = [
        f"{len(batch.recordings.y)} recordings, {batch.weights} weights, loss "
        f"{report.recorded.loss:.4g}; {report.seconds:.2f} s",
        *report.lines(),
    ]
    picture = picture_file(
        plot, no_plot, (run / "pictures" if run.is_dir() else Path()) / "slopes.png"
    )
    if picture is not None:
        page = page or (run if run.is_dir() else Path()) / "slopes.html"
        nwavesdk.plot.theme.write_png(picture, partial(slopes_picture, report))
        write_page(page, report, batch)
        lines.append(f"look at {page}")

    content = {
        "run": run,
        "weights": batch.weights,
        "recordings": len(batch.recordings.y),
        **report.as_json(),
        "plot": picture,
        "page": page,
    }
    print_report(as_json, content, lines)


@app.command("diagnose")
def diagnose_run(
    run: RunPath,
    recordings: Recordings = None,
    net: NetFile = None,
    as_json: Json = False,
) -> None:
    """Find dead, saturated and starved neurons, bad gradients, and time constants that do not fit.

    Spikes are counted over the whole training set; gradients are measured on one batch.

    Each finding ends in a remedy: options with which to train again, or a change of the net.
    """
    from nwavesdk.analysis import remedies, run_batch
    from nwavesdk.net import connection_sparsity

    batch = run_batch.RunBatch.open(run, recordings, net)
    recorded = batch.record_pass()
    evaluated = batch.evaluate()
    score_name, score = next(iter(evaluated.measures.items()))

    health = nwavesdk.analysis.examine_recording(
        recorded.recording, dict(recorded.gradients()), rates=evaluated.neuron_rates
    )
    memories, misfits = nwavesdk.analysis.examine_memory(batch.net, recorded.recording)

    names = batch.layer_names([layer.layer for layer in health.layers])
    findings = remedies.with_remedies(
        (*health.findings, *misfits),
        batch.run.config,
        names,
        {layer.layer: layer.rate for layer in health.layers},
        score,
    )

    advice = [
        f"{finding.kind.upper()}: {finding.text}. Remedy: {finding.remedy}." for finding in findings
    ]
    layers = [{"name": names[layer.layer], **vars(layer)} for layer in health.layers]
    memory = [{"name": names[layer.layer], **vars(layer)} for layer in memories]
    sparsity = connection_sparsity(batch.net)

    content = {
        "run": run,
        "weights": batch.weights,
        "recordings": len(batch.recordings.y),
        "loss": recorded.loss.item(),
        "training_recordings": len(evaluated.lengths),
        f"training_{score_name}": score,
        "uncovered": recorded.uncovered,
        "sparsity": sparsity,
        "layers": layers,
        "memory": memory,
        "findings": findings,
    }
    lines = [
        f"{len(batch.recordings.y)} recordings, {batch.weights} weights, loss "
        f"{content['loss']:.4g}; spikes of all {len(evaluated.lengths):,} training recordings, "
        f"{score_name} {score:.4g}",
        "layers of neurons, in brackets their modules in the net:",
        *record_table(layers, LAYER_COLUMNS),
        "",
        *record_table(memory, MEMORY_COLUMNS),
        *(advice or ["no problem found"]),
    ]
    if any(sparsity.values()):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in sparsity.items())
        lines.append(f"Connections of weight 0: {shares}.")
    print_report(as_json, content, lines)
