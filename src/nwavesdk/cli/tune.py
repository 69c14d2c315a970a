"""`nwave tune`: the search of hyper-parameters."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import (
    Json,
    Ray,
    app,
    check_combinations,
    folder_option,
    print_report,
)
from nwavesdk.cli.errors import print_note
from nwavesdk.internal.files import check_folder
from nwavesdk.internal.processes import LOCAL

__all__ = ["tune_run"]


@app.command("tune")
@check_combinations(needs={"--threads": "CONFIG"})
def tune_run(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG]",
            help="TOML file with [run], [search] and [space]; not needed with --resume.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        folder_option("Folder of the search; new, or a search to continue. [search.out]"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the search in DIR, with its own file.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Threads of each trial. [search.threads or 1]"),
    ] = None,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Search the choices of `nwave train` that CONFIG names; test the best net once.

    Trials run side by side on Ray, and bad ones stop early. They are compared on the validation
    set. The same command continues a search that was killed; finished trials are not repeated.
    """
    from nwavesdk.analysis.tune import on_ray, report, winner

    address = ray or LOCAL
    search = _open(config, out, resume, threads, address)
    on_ray.finish_trials(
        search, lambda trial: print_note(report.trial_line(search, trial)), address
    )
    best = report.check_any_finished(search)
    if search.reads_test:
        winner.finish_winner(search, best)
    lines = [*report.search_lines(search), f"look at {report.write_search(search)}"]
    print_report(as_json, report.search_json(search), lines)


def _open(
    config: Path | None, out: Path | None, resume: bool, threads: int | None, address: str
) -> Any:
    """Begin or continue the search that the words of the command name."""
    from nwavesdk.analysis import cluster, tune

    if config is None:
        if not resume or out is None:
            raise ValueError(
                "CONFIG: missing, expected the TOML file of a search: give one, or --out DIR "
                "--resume to continue a search."
            )
        return tune.Search.read(out)

    content = tune.TuneConfig.read(config)
    if threads is not None:
        search = content.search.model_copy(update={"threads": threads})
        content = content.model_copy(update={"search": search})
    cluster.require_local_cpus(content.search.threads, address)

    folder = out or content.search.out
    if folder is None:
        raise ValueError("--out: missing, expected a folder for the search: give one.")
    check_folder(Path(folder))
    if resume and not Path(folder, "tune.json").is_file():
        raise ValueError(
            f"--resume: {folder} holds no search: leave --resume out to begin one there."
        )
    return tune.Search.open(Path(folder), content)
