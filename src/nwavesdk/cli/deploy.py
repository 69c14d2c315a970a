"""Commands that bring a trained net to a chip: `nwave check`, `map`, `export` and `chips`."""

from pathlib import Path
from typing import Annotated

import typer

import nwavesdk
from nwavesdk.cli.app import (
    Json,
    NetFile,
    NoPlot,
    Ray,
    RunPath,
    app,
    check_combinations,
    check_spares_run,
    file_option,
    folder_option,
    measures_text,
    picture_option,
    print_report,
)
from nwavesdk.cli.nir import Allow, Discretization, export_nir
from nwavesdk.cli.step import export_step

__all__ = ["check_run", "draw_chips", "export_run", "map_run"]

Chip = Annotated[str | None, typer.Option(metavar="h1v1|h1v2|FILE", help="The chip. [the run's]")]
Plot = Annotated[Path | None, picture_option("File of the picture. [in RUN/pictures]")]


@app.command("check")
def check_run(run: RunPath, chip: Chip = None, net: NetFile = None, as_json: Json = False) -> None:
    """List where the net of RUN violates a limit of the chip; exit code 1 if it does."""
    chip_run = nwavesdk.deploy.ChipRun.open(run, chip, net)
    chip_name = chip_run.profile.name
    violations = chip_run.violations()

    content = {"chip": chip_name, "violations": [vars(violation) for violation in violations]}
    lines = [*map(str, violations)] or [f"the net of {run} keeps every limit of {chip_name}"]
    print_report(as_json, content, lines)
    raise typer.Exit(1 if violations else 0)


@app.command("map")
@check_combinations(["--no-plot", "--plot"])
def map_run(
    run: RunPath,
    chip: Chip = None,
    net: NetFile = None,
    plot: Plot = None,
    no_plot: NoPlot = False,
    as_json: Json = False,
) -> None:
    """Place the layers of RUN's net on the cores of its chip, or report why it does not fit."""
    chip_run = nwavesdk.deploy.ChipRun.open(run, chip, net)
    picture = None if no_plot else chip_run.picture_target("placement.png", plot)
    placement = chip_run.placement()
    power = chip_run.power()
    if picture is not None:
        chip_run.draw_placement(picture)

    content = {
        "chip": placement.chip,
        "cores": placement.cores,
        "pieces": [vars(piece) for piece in placement.pieces],
        "power_w": {**vars(power), "total": power.total},
        "plot": picture,
    }
    lines = [placement.chip, *str(placement).splitlines(), f"power on the validation set: {power}"]
    print_report(as_json, content, lines)


@app.command("export")
@check_combinations(
    ["--out", "--nir", "--torch", "--onnx", "--c"],
    ["--nir", "--torch", "--onnx", "--c", "--chip"],
    needs={
        "--discretization": "--nir",
        "--allow": "--nir",
        "--static": "--onnx",
        "--opset": "--onnx",
    },
)
def export_run(
    run: RunPath,
    chip: Chip = None,
    net: NetFile = None,
    out: Annotated[Path | None, file_option("File for the chip. [RUN/chip.safetensors]")] = None,
    nir: Annotated[
        Path | None, file_option("Write a NIR graph, for other libraries: docs/nir.md.")
    ] = None,
    torch: Annotated[
        Path | None, file_option("Write one step as a program of torch: docs/export.md.")
    ] = None,
    onnx: Annotated[
        Path | None, file_option("Write one step as an ONNX graph: docs/export.md.")
    ] = None,
    c: Annotated[
        Path | None,
        folder_option(
            "Write C with a self-test, over an earlier export: docs/how-to/microcontroller.md."
        ),
    ] = None,
    discretization: Annotated[
        Discretization | None,
        typer.Option(help="With --nir: how readers of the graph will solve its equations."),
    ] = None,
    allow: Allow = None,
    static: Annotated[
        bool,
        typer.Option(
            "--static",
            help="With --onnx: constant shapes, one recording per call; examples in FILE.npz, too.",
        ),
    ] = False,
    opset: Annotated[
        int | None,
        typer.Option(min=1, help="With --onnx: version of its operators. [of torch]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write integer weights, placement and profile to one file; read it back and compare spikes.

    With --nir, --torch, --onnx or --c, write the net of any run for other programs, and nothing for
    a chip.
    """
    files = {"--out": out, "--nir": nir, "--torch": torch, "--onnx": onnx, "--c": c}
    for option, path in files.items():
        check_spares_run(option, path, run)

    if nir is not None:
        export_nir(run, net, nir, discretization, allow, as_json)
    elif torch is not None:
        export_step(run, net, torch, "torch", as_json)
    elif onnx is not None:
        export_step(run, net, onnx, "onnx", as_json, static=static, opset=opset)
    elif c is not None:
        from nwavesdk.cli.c import export_folder

        export_folder(run, net, c, as_json)
    else:
        _export_chip(run, chip, net, out, as_json)


def _export_chip(
    run: Path, chip: str | None, net: str | None, out: Path | None, as_json: bool
) -> None:
    chip_run = nwavesdk.deploy.ChipRun.open(run, chip, net)
    tested = chip_run.test_measures()  # its errors come before the file is written
    path, n_spikes = chip_run.export(out)

    content = {"path": path, "bytes": path.stat().st_size, "spikes_compared": n_spikes, **tested}
    lines = [
        f"{path}: {content['bytes']:,} bytes; after reading it back, all {n_spikes:,} spikes of "
        "the validation set are equal",
        f"of the chip as designed: {measures_text(tested)}"
        if tested
        else "the test accuracy of this net is unknown: nwave eval tests a run",
    ]
    print_report(as_json, content, lines)


@app.command("chips")
@check_combinations(["--no-plot", "--plot"])
def draw_chips(
    run: RunPath,
    n: Annotated[
        int | None,
        typer.Option("--n", min=1, max=100_000, help="Number of chips. [200; 20 for a detector]"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Seed of the chips.")] = 0,
    net: NetFile = None,
    wanted: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Accuracy from which a chip is good enough. [0.9; a detector has the false alarms "
            "per hour of its run]",
        ),
    ] = None,
    plot: Plot = None,
    no_plot: NoPlot = False,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Test the net of RUN on many drawn chips: accuracies, quantiles, fraction that is good enough.

    The chips of a detector run the test streams: misses, false alarms, fraction within the budget.
    Training and selection have used none of these chips.
    """
    from nwavesdk.analysis.chip_parts import count_on_ray

    chip_run = nwavesdk.deploy.ChipRun.open(run, net=net)
    picture = None if no_plot else chip_run.picture_target("chips.png", plot)
    series = chip_run.series(n, seed, wanted, count_on_ray(chip_run, ray) if ray else None)
    if picture is not None:
        chip_run.draw_series(series, picture)

    assumed = chip_run.profile.assumed("leak_mismatch", "threshold_mismatch", "synapse_mismatch")
    content = {
        **series.fields,
        "yield": series.share,
        "assumed": assumed,
        "plot": picture,
    }
    hint = "" if chip_run.run.task.name == "detect" else " (--wanted)"
    lines = f"{series}{hint}".splitlines()
    if assumed:
        lines.append(f"mismatch is assumed, not measured: {', '.join(assumed)}")
    print_report(as_json, content, lines)
