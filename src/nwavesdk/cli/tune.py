"""`nwave tune`: the search of hyper-parameters."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, app, check_combinations, folder_option, print_report
from nwavesdk.cli.errors import print_note
from nwavesdk.cli.ray import Ray, RayCommand
from nwavesdk.internal.files import check_folder

__all__ = ["tune_run"]


@app.command("tune", cls=RayCommand)
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
    from nwavesdk.analysis.tune.on_ray import finish_trials
    from nwavesdk.analysis.tune.report import (
        check_any_finished,
        search_json,
        search_lines,
        trial_line,
        write_search,
    )
    from nwavesdk.analysis.tune.winner import finish_winner
    from nwavesdk.internal.processes import LOCAL

    address = ray or LOCAL
    search = _open(config, out, resume, threads, address)
    finish_trials(search, lambda trial: print_note(trial_line(search, trial)), address)
    best = check_any_finished(search)
    if search.reads_test:
        finish_winner(search, best)
    report = write_search(search)
    print_report(as_json, search_json(search), [*search_lines(search), f"look at {report}"])


def _open(
    config: Path | None, out: Path | None, resume: bool, threads: int | None, address: str
) -> Any:
    """Begin or continue the search that the words of the command name."""
    from nwavesdk.analysis.cluster import require_local_cpus
    from nwavesdk.analysis.tune import Search, TuneConfig

    if config is None:
        if not resume or out is None:
            raise ValueError(
                "CONFIG: missing, expected the TOML file of a search: give one, or --out DIR "
                "--resume to continue a search."
            )
        return Search.read(out)

    content = TuneConfig.read(config)
    if threads is not None:
        settings = content.search.model_copy(update={"threads": threads})
        content = content.model_copy(update={"search": settings})
    require_local_cpus(content.search.threads, address)

    folder = out or content.search.out
    if folder is None:
        raise ValueError("--out: missing, expected a folder for the search: give one.")
    check_folder(Path(folder))
    if resume and not Path(folder, "tune.json").is_file():
        raise ValueError(
            f"--resume: {folder} holds no search: leave --resume out to begin one there."
        )
    return Search.open(Path(folder), content)
