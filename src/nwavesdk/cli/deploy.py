"""Commands that take a trained net to a chip: `nwave check`, `map`, `export` and `chips`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, RunPath, app, as_png, user_errors

__all__ = ["check", "chips", "export", "map_cores"]

Chip = Annotated[str | None, typer.Option(metavar="h1v1|h1v2|FILE", help="The chip. [the run's]")]
Plot = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Where the picture goes. [RUN/pictures]")
]
NoPlot = Annotated[bool, typer.Option("--no-plot", help="No picture.")]


@app.command()
def check(run: RunPath, chip: Chip = None, as_json: Json = False) -> None:
    """Say where the net of RUN breaks a limit of the chip; exit code 1 when it does."""
    with user_errors(as_json):
        from nwavesdk.deploy import ChipRun

        opened = ChipRun.open(run, chip)
        found = opened.violations()
    if as_json:
        print(
            json.dumps(
                {
                    "chip": opened.profile.name,
                    "violations": [vars(violation) for violation in found],
                }
            )
        )
    else:
        print(
            "\n".join(map(str, found))
            or f"the net of {run} keeps every limit of {opened.profile.name}"
        )
    raise typer.Exit(1 if found else 0)


@app.command("map")
def map_cores(
    run: RunPath,
    chip: Chip = None,
    plot: Plot = None,
    no_plot: NoPlot = False,
    as_json: Json = False,
) -> None:
    """Place the layers of RUN's net on the cores of its chip; print and draw where, or say why it does not fit."""
    with user_errors(as_json):
        from nwavesdk.deploy import ChipRun

        opened = ChipRun.open(run, chip)
        placement, power = opened.placement(), opened.power()
        picture = None if no_plot else opened.draw_placement(as_png(plot))
    if as_json:
        pieces = [vars(piece) for piece in placement.pieces]
        told = {"chip": placement.chip, "cores": placement.cores, "pieces": pieces}
        print(
            json.dumps(
                {**told, "power_w": {**vars(power), "total": power.total}, "plot": _text(picture)}
            )
        )
        return
    print(f"{placement.chip}\n{placement}\npower on the validation part: {power}")
    if picture is not None:
        print(f"drawn in {picture}")


@app.command()
def export(
    run: RunPath,
    chip: Chip = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="[RUN/chip.safetensors]")] = None,
    as_json: Json = False,
) -> None:
    """Write integer weights, placement and profile to one file, and check that the net read back fires the same."""
    with user_errors(as_json):
        from nwavesdk.deploy import ChipRun

        path, spikes = ChipRun.open(run, chip).export(out)
    if as_json:
        print(
            json.dumps({"path": str(path), "bytes": path.stat().st_size, "spikes_compared": spikes})
        )
        return
    print(
        f"{path}: {path.stat().st_size:,} bytes; read back, all {spikes:,} spikes of the validation part are the same"
    )


@app.command()
def chips(
    run: RunPath,
    n: Annotated[int, typer.Option("--n", min=1, help="Chips.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Which chips are drawn.")] = 0,
    wanted: Annotated[
        float, typer.Option(min=0, max=1, help="Accuracy that a chip must have to count.")
    ] = 0.9,
    plot: Plot = None,
    no_plot: NoPlot = False,
    as_json: Json = False,
) -> None:
    """Test the net of RUN on many chips of the series: accuracy of each, quantiles, and the share that is good enough.

    None of the chips is one that training or selection has seen.
    """
    with user_errors(as_json):
        from nwavesdk.deploy import ChipRun

        opened = ChipRun.open(run)
        series = opened.series(n, seed, wanted)
        picture = None if no_plot else opened.draw_series(series, as_png(plot))
    assumed = opened.profile.assumed("leak_mismatch", "threshold_mismatch", "synapse_mismatch")
    if as_json:
        told = {**_told(series), "assumed": assumed, "seconds": round(series.seconds, 2)}
        print(json.dumps({**told, "plot": _text(picture)}))
        return
    print(series)
    if assumed:
        print(f"drawn by assumed sizes, not measured chips: {', '.join(assumed)}")
    if picture is not None:
        print(f"drawn in {picture}")


def _told(series: Any) -> dict[str, Any]:
    quantiles = {"q05": series.q05, "q50": series.q50, "q95": series.q95}
    named = {"accuracy": list(series.accuracy), "designed": series.designed, **quantiles}
    return {**named, "wanted": series.wanted, "yield": series.share, "seed": series.seed}


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
