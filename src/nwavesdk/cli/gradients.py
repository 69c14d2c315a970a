"""Commands that look at gradients: `nwave slopes` and `nwave diagnose`."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, RunPath, app, as_png, split_commas, user_errors

__all__ = ["diagnose", "slopes"]

Recordings = Annotated[int | None, typer.Option(metavar="N", min=1, help="Recordings to look at. [the run's batch]")]


@app.command()
def slopes(
    run: Annotated[Path, typer.Argument(metavar="RUN|CONFIG", help="A run's folder; or a config: initial weights.")],
    surrogates: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Candidates, as in 'fast_sigmoid(5),atan(2)'. [22 of three kinds]"),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="NAME", help="Recommend surrogates of this name. [the run's own]")
    ] = None,
    recordings: Recordings = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the picture goes. [RUN/pictures/slopes.png]")
    ] = None,
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the page goes. [RUN/slopes.html]")] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Only the table: no picture, no page.")] = False,
    as_json: Json = False,
) -> None:
    """Say how much gradient reaches each layer of a net under which surrogate, and which one each layer should have."""
    with user_errors(as_json):
        from nwavesdk.lab.run_batch import RunBatch
        from nwavesdk.lab.slopes.report import SlopeReport
        from nwavesdk.surrogate import available, parse

        grid = None if surrogates is None else [parse(one) for one in split_commas(surrogates)]
        if kind is not None and kind not in available():
            raise ValueError(f"--kind {kind} is unknown: expected one of {', '.join(sorted(available()))}.")
        batch = RunBatch.open(run, recordings)
        report = SlopeReport.of(batch, grid, None if kind is None else available()[kind])
        picture = None if no_plot else as_png(plot) or batch.pictures / "slopes.png"
        if picture is not None:
            from nwavesdk.lab.slopes.picture import plot_slopes
            from nwavesdk.lab.slopes.report_page import write_page

            plot_slopes(picture, report)
            page = page or (run if run.is_dir() else Path(".")) / "slopes.html"
            write_page(page, report, batch)
    about = {"run": str(run), "weights": batch.weights, "recordings": len(batch.labels)}
    if as_json:
        files = {"plot": picture, "page": page if picture is not None else None}
        told = {name: None if path is None else str(path) for name, path in files.items()}
        print(json.dumps({**about, **report.as_json(), **told}))
        return
    print(f"{len(batch.labels)} recordings, {batch.weights} weights, loss {report.loss:.4g}; {report.seconds:.2f} s")
    print("\n".join(report.lines()))
    if picture is not None:
        print(f"drawn in {picture}; look at {page}")


@app.command()
def diagnose(run: RunPath, recordings: Recordings = None, as_json: Json = False) -> None:
    """Find dead, saturated and gradient-starved neurons of RUN's net, and gradients that explode or vanish."""
    with user_errors(as_json):
        from nwavesdk.lab import examine
        from nwavesdk.lab.run_batch import RunBatch
        from nwavesdk.lab.slopes import Tape

        batch = RunBatch.open(run, recordings)
        tape = Tape(batch.net, batch.x, batch.loss, batch.chip)
        health = examine(tape.recording, tape.charge_gradients())
    if as_json:
        rows = {name: [_finite(vars(one)) for one in getattr(health, name)] for name in ("layers", "findings")}
        about = {"run": str(run), "weights": batch.weights, "recordings": len(batch.labels), "loss": tape.loss.item()}
        print(json.dumps({**about, **rows}))
        return
    print(f"{len(batch.labels)} recordings, {batch.weights} weights, loss {tape.loss.item():.4g}")
    print("layer       rate    dead  saturated  starved  gradient  of the last's  early / late")
    for depth, layer in enumerate(health.layers, 1):
        shares = f"{layer.dead:>8.0%}{layer.saturated:>11.0%}{layer.starved:>9.0%}"
        print(f"{depth:<6}{layer.rate:>10.3g}{shares}{layer.norm:>10.2e}{layer.depth:>15.3g}{layer.time:>14.3g}")
    for kind, remedy in {one.kind: one.remedy for one in health.findings}.items():
        print("\n".join([f"\n{kind.upper()}", *(one.text for one in health.findings if one.kind == kind)]))
        print(f"Remedy: {remedy}.")
    if not health.findings:
        print("nothing is wrong")


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity."""
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}
