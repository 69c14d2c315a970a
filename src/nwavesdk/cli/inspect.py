"""Commands that look: at data, at surrogates, at what is installed and at a chip's numbers.

Commands that look at gradients: `nwave slopes` and `nwave diagnose`.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk import __version__
from nwavesdk.cli.app import Json, RunPath, app, as_png, split_commas, user_errors

__all__ = ["data", "diagnose", "info", "slopes", "surrogates"]


@app.command()
def data(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="<class>/*.wav, or wavs/*.wav and target/*.pt for regression."
        ),
    ],
    task: Annotated[
        str | None, typer.Option(help="classification or regression. [classification]")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(help="Length of a recording, seconds. [1.0]")
    ] = None,
    sim_time: Annotated[float | None, typer.Option(help="Time step, seconds. [0.001]")] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Rate of the sound, Hz. [16000]")] = None,
    chip: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Whose filter bank. [h1v1]")
    ] = None,
    on_error: Annotated[
        str | None, typer.Option(help="raise, or skip files that cannot be used. [raise]")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the picture goes. [front_end.png]")
    ] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="No picture.")] = False,
    as_json: Json = False,
) -> None:
    """Hear the recordings of FOLDER as a chip does, keep that for training, count them, draw the filters."""
    given = {
        "task": task, "recording_duration_s": duration, "sim_time_s": sim_time, "sample_rate": sample_rate,
        "chip": chip, "on_error": on_error,
    }  # fmt: skip
    with user_errors(as_json):
        from nwavesdk.analysis import data_lines, data_report
        from nwavesdk.data import NWaveDataGen
        from nwavesdk.internal.extras import require

        picture = None if no_plot else as_png(plot) or Path("front_end.png")
        if picture is not None:
            require("matplotlib", "train")
        gen = NWaveDataGen(
            data_parent=folder,
            **{name: value for name, value in given.items() if value is not None},
        )
        report = data_report(gen)
        if picture is not None:
            from nwavesdk.analysis.data_report import plot_front_end

            plot_front_end(picture, gen.config, gen.config.folder / gen.channels.keys[0])
    if as_json:
        print(json.dumps({**report, "plot": None if picture is None else str(picture)}))
        return
    print("\n".join([*data_lines(report), *([] if picture is None else [f"drawn in {picture}"])]))


@app.command()
def surrogates(
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the picture goes. [surrogates.png]")
    ] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Only the table.")] = False,
    as_json: Json = False,
) -> None:
    """List the surrogates with formula, defaults, peak and area, and draw them."""
    with user_errors(as_json):
        from nwavesdk.analysis import catalogue_shapes

        rows = catalogue_shapes()
        picture = None if no_plot else as_png(plot) or Path("surrogates.png")
        if picture is not None:
            from nwavesdk.internal.extras import require

            require("matplotlib", "train")
            from nwavesdk.analysis.shapes import plot_derivatives

            plot_derivatives(picture)
    if as_json:
        print(json.dumps({"surrogates": rows, "plot": None if picture is None else str(picture)}))
        return
    print(
        f"{'name and defaults':<51} {'peak':>7} {'area':>7} {'half width':>11}  derivative at z = u − threshold"
    )
    for row in rows:
        defaults = ", ".join(f"{name}={value:g}" for name, value in row["defaults"].items())
        area, width = (
            "none" if row[key] is None else f"{row[key]:.4g}" for key in ("area", "half_width")
        )
        print(
            f"{row['name'] + f'({defaults})':<51} {row['peak']:>7.4g} {area:>7} {width:>11}  {row['formula']}"
        )
    if picture is not None:
        print(f"drawn in {picture}")


@app.command()
def info(
    chip: Annotated[
        str | None,
        typer.Option(
            metavar="h1v1|h1v2|FILE", help="The numbers of a chip instead, and their sources."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is installed, on what machine, and which extras are missing; or with --chip what is known of a chip."""
    if chip is not None:
        return _chip(chip, as_json)
    import platform

    import numba
    import torch

    from nwavesdk.internal.extras import extras
    from nwavesdk.solvers.sparse.crossover import active_table

    with user_errors(as_json):
        crossovers = active_table().source
    facts: dict[str, Any] = {
        "nwavesdk": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "threads": torch.get_num_threads(),
        "crossovers": crossovers,
        "cuda": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "extras": {
            name: {"complete": not lacking, "missing": lacking}
            for name, lacking in extras().items()
        },
    }
    if as_json:
        print(json.dumps(facts))
        return None
    for name in ("nwavesdk", "python", "torch", "numba", "threads", "crossovers"):
        print(f"{name:<10} {facts[name]}")
    print(f"{'cuda':<10} {', '.join(facts['cuda']) or 'none'}")
    for name, state in facts["extras"].items():
        lacking = f'lacks {", ".join(state["missing"])}: pip install "nwavesdk[{name}]"'
        print(f"{name:<10} {'complete' if state['complete'] else lacking}")
    return None


def _chip(source: str, as_json: bool) -> None:
    with user_errors(as_json):
        from nwavesdk.chip import load_profile

        profile = load_profile(source)
    if as_json:
        print(profile.to_json())
        return
    print(f"{profile.name}: * is assumed, to be replaced by measured numbers in a file of your own")
    for key, entry in profile.entries.items():
        value = entry.value if isinstance(entry.value, tuple) else (entry.value,)
        told = " ".join(f"{v:g}" if isinstance(v, float) else v for v in value) or "none"
        print(
            f"{'*' if entry.source == 'assumed' else ' '} {key:<21} {told} {'' if entry.unit == '1' else entry.unit}"
        )
        print(f"{'':<24}{entry.source}: {entry.note}")


Recordings = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Recordings to look at. [the run's batch]")
]


@app.command()
def slopes(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN|CONFIG", help="A run's folder; or a config: initial weights."),
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
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where the picture goes. [RUN/pictures/slopes.png]"),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the page goes. [RUN/slopes.html]")
    ] = None,
    no_plot: Annotated[
        bool, typer.Option("--no-plot", help="Only the table: no picture, no page.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say how much gradient reaches each layer of a net under which surrogate, and which one each layer should have."""
    with user_errors(as_json):
        from nwavesdk.analysis.run_batch import RunBatch
        from nwavesdk.analysis.slopes.report import SlopeReport
        from nwavesdk.surrogate import available, parse

        grid = None if surrogates is None else [parse(one) for one in split_commas(surrogates)]
        if kind is not None and kind not in available():
            raise ValueError(
                f"--kind {kind} is unknown: expected one of {', '.join(sorted(available()))}."
            )
        batch = RunBatch.open(run, recordings)
        report = SlopeReport.of(batch, grid, None if kind is None else available()[kind])
        picture = None if no_plot else as_png(plot) or batch.pictures / "slopes.png"
        if picture is not None:
            from nwavesdk.analysis.slopes.report import plot_slopes, write_page

            plot_slopes(picture, report)
            page = page or (run if run.is_dir() else Path(".")) / "slopes.html"
            write_page(page, report, batch)
    about = {"run": str(run), "weights": batch.weights, "recordings": len(batch.labels)}
    if as_json:
        files = {"plot": picture, "page": page if picture is not None else None}
        told = {name: None if path is None else str(path) for name, path in files.items()}
        print(json.dumps({**about, **report.as_json(), **told}))
        return
    print(
        f"{len(batch.labels)} recordings, {batch.weights} weights, loss {report.loss:.4g}; {report.seconds:.2f} s"
    )
    print("\n".join(report.lines()))
    if picture is not None:
        print(f"drawn in {picture}; look at {page}")


@app.command()
def diagnose(run: RunPath, recordings: Recordings = None, as_json: Json = False) -> None:
    """Find dead, saturated and gradient-starved neurons of RUN's net, and gradients that explode or vanish."""
    with user_errors(as_json):
        from nwavesdk.analysis import examine
        from nwavesdk.analysis.run_batch import RunBatch
        from nwavesdk.analysis.slopes import RecordedPass

        batch = RunBatch.open(run, recordings)
        recorded = RecordedPass(batch.net, batch.x, batch.loss, batch.chip)
        health = examine(recorded.recording, recorded.charge_gradients())
    if as_json:
        rows = {
            name: [_finite(vars(one)) for one in getattr(health, name)]
            for name in ("layers", "findings")
        }
        about = {
            "run": str(run),
            "weights": batch.weights,
            "recordings": len(batch.labels),
            "loss": recorded.loss.item(),
        }
        print(json.dumps({**about, **rows}))
        return
    print(
        f"{len(batch.labels)} recordings, {batch.weights} weights, loss {recorded.loss.item():.4g}"
    )
    print("layer       rate    dead  saturated  starved  gradient  of the last's  early / late")
    for depth, layer in enumerate(health.layers, 1):
        shares = f"{layer.dead:>8.0%}{layer.saturated:>11.0%}{layer.starved:>9.0%}"
        print(
            f"{depth:<6}{layer.rate:>10.3g}{shares}{layer.norm:>10.2e}{layer.depth:>15.3g}{layer.time:>14.3g}"
        )
    for kind, remedy in {one.kind: one.remedy for one in health.findings}.items():
        print(
            "\n".join(
                [f"\n{kind.upper()}", *(one.text for one in health.findings if one.kind == kind)]
            )
        )
        print(f"Remedy: {remedy}.")
    if not health.findings:
        print("nothing is wrong")


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity."""
    return {
        name: None if isinstance(v, float) and not math.isfinite(v) else v
        for name, v in values.items()
    }
