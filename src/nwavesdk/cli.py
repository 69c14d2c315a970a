"""The command `nwave`. Everything heavy is imported inside the command that needs it, so that help is instant."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk import __version__

__all__ = ["app", "main"]

app = typer.Typer(
    name="nwave",
    help="Spiking neural networks with surrogate gradients: train, evaluate, look.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on standard output.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")]


def main() -> None:
    """Entry point of the console script."""
    app()


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def train(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the run; new or empty, unless --resume.")],
    seed: Annotated[int | None, typer.Option(help="Decides weights, order and dropout. [0]")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="digits|FOLDER", help="Spoken digits, or <class>/*.wav in a folder. [digits]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part. [20]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in DIR from its last epoch.")] = False,
    hidden: Annotated[str | None, typer.Option(metavar="N,N,…", help="Hidden layer sizes. [256,256]")] = None,
    chip: Annotated[
        str | None, typer.Option(metavar="h1v1|h1v2|FILE", help="Train for this chip; FILE is a profile. [none]")
    ] = None,
    training: Annotated[
        str | None, typer.Option(help="What it knows of the chip: plain, hardware or mismatch. [mismatch]")
    ] = None,
    bits: Annotated[int | None, typer.Option(help="Bits of a weight on the chip. [the profile's]")] = None,
    duration: Annotated[float | None, typer.Option(help="Length of a recording for a chip, seconds. [1]")] = None,
    population: Annotated[int | None, typer.Option(help="Output neurons for each class. [10]")] = None,
    tau: Annotated[float | None, typer.Option(help="Membrane time constant, seconds. [0.01]")] = None,
    surrogate: Annotated[
        str | None, typer.Option(help="Gradient of a spike; `nwave surrogates` lists them. [fast_sigmoid]")
    ] = None,
    dropout: Annotated[float | None, typer.Option(help="Share of hidden neurons silenced. [0.05]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate of the cycle. [0.008]")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Recordings a step. [64]")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without gain. [never]")] = None,
    limit: Annotated[int | None, typer.Option(help="Use about so many recordings. [all]")] = None,
    length: Annotated[int | None, typer.Option(help="Frames kept of a recording. [whole for 9 of 10]")] = None,
    hold: Annotated[int | None, typer.Option(help="Time steps a frame stays. [about 100 steps in all]")] = None,
    bands: Annotated[int | None, typer.Option(help="Mel bands; folders only. [32]")] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Rate of the sound, Hz; folders only. [lowest]")] = None,
    accelerator: Annotated[str | None, typer.Option(help="auto, cpu, gpu, cuda or mps. [auto]")] = None,
    devices: Annotated[int | None, typer.Option(help="Processes or GPUs, data-parallel. [1]")] = None,
    precision: Annotated[str | None, typer.Option(help="32-true, 64-true, bf16-mixed or 16-mixed. [32-true]")] = None,
    as_json: Json = False,
) -> None:
    """Train a spiking net on recordings; DIR gets its weights, numbers, pictures and report.html."""
    choices = _nested(
        {
            "seed": seed,
            "data.source": _source(data),
            "data.limit": limit,
            "data.length": length,
            "data.hold": hold,
            "data.bands": bands,
            "data.sample_rate": sample_rate,
            "chip.profile": _profile_path(chip),
            "chip.training": training,
            "chip.bits": bits,
            "chip.duration": duration,
            "net.hidden": None if hidden is None else [size.strip() for size in hidden.split(",") if size.strip()],
            "net.population": population,
            "net.tau": tau,
            "net.surrogate": surrogate,
            "net.dropout": dropout,
            "learning.epochs": epochs,
            "learning.rate": learning_rate,
            "learning.batch_size": batch_size,
            "learning.patience": patience,
            "machine.accelerator": accelerator,
            "machine.devices": devices,
            "machine.precision": precision,
        }
    )
    with _user_errors(as_json):
        from nwavesdk.train import Run, RunConfig, RunFolder

        folder = RunFolder(out)
        if resume:
            folder.read_config().check_same(choices)
            if folder.finished:
                print(f"{out} is finished: nothing to resume, nothing changed.", file=sys.stderr)
                return _print_result(out, folder.read_result(), as_json)
        run = Run.open(out) if resume else Run.new(out, RunConfig.of(choices))
    result = run.train()
    if result is not None:
        _print_result(out, result, as_json)
    return None


@app.command("eval")
def evaluate(run: RunPath, as_json: Json = False) -> None:
    """Build the net of RUN from its config and weights and test it again."""
    with _user_errors(as_json):
        from nwavesdk.train import Run, RunFolder

        opened = Run.open(run)
        result = opened.test()
        folder = RunFolder(run)
        recorded = folder.read_result()["test_accuracy"] if folder.finished else None
    report = {"run": str(run), **result, "recorded_test_accuracy": recorded}
    if as_json:
        print(json.dumps(report))
    else:
        print(
            f"test accuracy {result['test_accuracy']:.4f} on {result['recordings']} recordings (recorded: {recorded})"
        )


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
    with _user_errors(as_json):
        from nwavesdk.data import NWaveDataGen, require
        from nwavesdk.lab import data_lines, data_report

        picture = None if no_plot else plot or Path("front_end.png")
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
    with _user_errors(as_json):
        from nwavesdk.lab import catalogue_shapes

        rows = catalogue_shapes()
        picture = None if no_plot else plot or Path("surrogates.png")
        if picture is not None:
            from nwavesdk.data import require

            require("matplotlib", "train")
            from nwavesdk.lab.derivatives import plot_derivatives

            plot_derivatives(picture)
    if as_json:
        print(json.dumps({"surrogates": rows, "plot": None if picture is None else str(picture)}))
        return
    print(f"{'name':<14} {'defaults':<14} {'peak':>8} {'area':>8} {'half width':>11}  derivative at z = u − threshold")
    for row in rows:
        defaults = ", ".join(f"{name}={value:g}" for name, value in row["defaults"].items())
        numbers = f"{row['peak']:>8.4g} {row['area']:>8.4g} {row['half_width']:>11.4g}"
        print(f"{row['name']:<14} {defaults:<14} {numbers}  {row['formula']}")
    if picture is not None:
        print(f"drawn in {picture}")


@app.command("tune-kernels")
def tune_kernels(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the table goes. [NWAVESDK_CROSSOVER or the settings]")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Remove the own table: the shipped one counts again.")] = False,
    as_json: Json = False,
) -> None:
    """Measure below which density of spikes sparse products pay on this machine, and go by that from now on.

    Nets that are trained afterwards may differ by rounding from earlier ones; a run that was begun keeps its table.
    """
    with _user_errors(as_json):
        from nwavesdk.solvers.crossover import read_table, shipped_table, user_path

        path = out or user_path()
        own = path.is_file()
        if reset:
            path.unlink(missing_ok=True)
            outcome = f"{path} is removed" if own else f"there was no {path}"
            print(
                json.dumps({"removed": own, "path": str(path)}) if as_json else f"{outcome}: the shipped table counts."
            )
            return
        if path.is_dir():
            raise ValueError(f"{path} is a folder: give the name of a file, as in --out {path / 'crossover.toml'}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.tmp")
        draft.write_text("")  # now, not after a minute of measuring, it must be known that it can be written
        try:
            before = read_table(path) if own else shipped_table()
        except ValueError as error:
            print(f"nwave: {error}", file=sys.stderr)
            before = shipped_table()

        from datetime import date

        import torch

        from nwavesdk.solvers.tuner import tune

        print("measuring products; leave the machine alone for a minute", file=sys.stderr)
        table = tune(lambda done: print(f"\r{done:4.0%}", end="\n" if done == 1 else "", file=sys.stderr, flush=True))
        draft.write_text(table.toml(f"nwave tune-kernels, {date.today()}, {torch.get_num_threads()} threads"), "utf-8")
        draft.replace(path)
    if as_json:
        print(json.dumps({"path": str(path), "before": before.content(), "table": table.content()}))
        return
    for line in table.differences(before):
        print(line)
    counts = out is None or out.resolve() == user_path().resolve()
    print(f"written to {path}" + ("" if counts else f"; to use it, set NWAVESDK_CROSSOVER={path}"))


@app.command()
def bench(as_json: Json = False) -> None:
    """Time layers and training steps on this machine, against the torch reference and the machine's own limits."""
    with _user_errors(as_json):
        from nwavesdk.lab.bench import quick_lines, quick_report

        report = quick_report()
    print(json.dumps(report) if as_json else "\n".join(quick_lines(report)))


@app.command()
def info(as_json: Json = False) -> None:
    """Say what is installed, on what machine, and which extras are missing."""
    import platform

    import numba
    import torch

    from nwavesdk.data import extras
    from nwavesdk.solvers.crossover import active_table

    with _user_errors(as_json):
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
        return
    for name in ("nwavesdk", "python", "torch", "numba", "threads", "crossovers"):
        print(f"{name:<10} {facts[name]}")
    print(f"{'cuda':<10} {', '.join(facts['cuda']) or 'none'}")
    for name, state in facts["extras"].items():
        lacking = f'lacks {", ".join(state["missing"])}: pip install "nwavesdk[{name}]"'
        print(f"{name:<10} {'complete' if state['complete'] else lacking}")


def _source(data: str | None) -> str | None:
    return data if data in (None, "digits") else str(Path(data).resolve())


def _profile_path(chip: str | None) -> str | None:
    return chip if chip in (None, "h1v1", "h1v2") else str(Path(chip).resolve())


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """`{"net.tau": 0.02, "seed": None}` to `{"net": {"tau": 0.02}}`: what was not given is left out."""
    choices: dict[str, Any] = {}
    for name, value in flat.items():
        section, _, key = name.rpartition(".")
        if value is not None:
            (choices.setdefault(section, {}) if section else choices)[key] = value
    return choices


def _print_result(out: Path, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"run": str(out), **result}))
    else:
        print(f"test accuracy {result['test_accuracy']:.4f}, validation {result['val_accuracy']:.4f}")
        print(f"trained in {result['seconds']:.1f} s; look at {out / 'report.html'}")


@contextlib.contextmanager
def _user_errors(as_json: bool) -> Iterator[None]:
    """Turn what the user can mend into one line and exit code 2; anything else keeps its traceback."""
    try:
        yield
    except (ValueError, OSError, ModuleNotFoundError) as error:
        text = " ".join(str(error).split())
        print(f"nwave: {text}", file=sys.stderr)
        if as_json:
            print(json.dumps({"error": text}))
        raise typer.Exit(2) from None
