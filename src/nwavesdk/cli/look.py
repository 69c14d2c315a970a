"""Commands that look: at data, at surrogates, at what is installed and at a chip's numbers."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk import __version__
from nwavesdk.cli.app import Json, app, as_png, user_errors

__all__ = ["data", "info", "surrogates"]


@app.command()
def data(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="<class>/*.wav, or wavs/*.wav and target/*.pt for regression.")
    ],
    task: Annotated[str | None, typer.Option(help="classification or regression. [classification]")] = None,
    duration: Annotated[float | None, typer.Option(help="Length of a recording, seconds. [1.0]")] = None,
    sim_time: Annotated[float | None, typer.Option(help="Time step, seconds. [0.001]")] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Rate of the sound, Hz. [16000]")] = None,
    chip: Annotated[str | None, typer.Option(metavar="NAME|FILE", help="Whose filter bank. [h1v1]")] = None,
    on_error: Annotated[str | None, typer.Option(help="raise, or skip files that cannot be used. [raise]")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the picture goes. [front_end.png]")] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="No picture.")] = False,
    as_json: Json = False,
) -> None:
    """Hear the recordings of FOLDER as a chip does, keep that for training, count them, draw the filters."""
    given = {
        "task": task, "recording_duration_s": duration, "sim_time_s": sim_time, "sample_rate": sample_rate,
        "chip": chip, "on_error": on_error,
    }  # fmt: skip
    with user_errors(as_json):
        from nwavesdk.data import NWaveDataGen, require
        from nwavesdk.lab import data_lines, data_report

        picture = None if no_plot else as_png(plot) or Path("front_end.png")
        if picture is not None:
            require("matplotlib", "train")
        gen = NWaveDataGen(data_parent=folder, **{name: value for name, value in given.items() if value is not None})
        report = data_report(gen)
        if picture is not None:
            from nwavesdk.lab.front_end import plot_front_end

            plot_front_end(picture, gen.config, gen.config.folder / gen.channels.keys[0])
    if as_json:
        print(json.dumps({**report, "plot": None if picture is None else str(picture)}))
        return
    print("\n".join([*data_lines(report), *([] if picture is None else [f"drawn in {picture}"])]))


@app.command()
def surrogates(
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the picture goes. [surrogates.png]")] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Only the table.")] = False,
    as_json: Json = False,
) -> None:
    """List the surrogates with formula, defaults, peak and area, and draw them."""
    with user_errors(as_json):
        from nwavesdk.lab import catalogue_shapes

        rows = catalogue_shapes()
        picture = None if no_plot else as_png(plot) or Path("surrogates.png")
        if picture is not None:
            from nwavesdk.data import require

            require("matplotlib", "train")
            from nwavesdk.lab.derivatives import plot_derivatives

            plot_derivatives(picture)
    if as_json:
        print(json.dumps({"surrogates": rows, "plot": None if picture is None else str(picture)}))
        return
    print(f"{'name and defaults':<51} {'peak':>7} {'area':>7} {'half width':>11}  derivative at z = u − threshold")
    for row in rows:
        defaults = ", ".join(f"{name}={value:g}" for name, value in row["defaults"].items())
        area, width = ("none" if row[key] is None else f"{row[key]:.4g}" for key in ("area", "half_width"))
        print(f"{row['name'] + f'({defaults})':<51} {row['peak']:>7.4g} {area:>7} {width:>11}  {row['formula']}")
    if picture is not None:
        print(f"drawn in {picture}")


@app.command()
def info(
    chip: Annotated[
        str | None, typer.Option(metavar="h1v1|h1v2|FILE", help="The numbers of a chip instead, and their sources.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what is installed, on what machine, and which extras are missing; or with --chip what is known of a chip."""
    if chip is not None:
        return _chip(chip, as_json)
    import platform

    import numba
    import torch

    from nwavesdk.data import extras
    from nwavesdk.solvers.crossover import active_table

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
        "extras": {name: {"complete": not lacking, "missing": lacking} for name, lacking in extras().items()},
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
        print(f"{'*' if entry.source == 'assumed' else ' '} {key:<21} {told} {'' if entry.unit == '1' else entry.unit}")
        print(f"{'':<24}{entry.source}: {entry.note}")
