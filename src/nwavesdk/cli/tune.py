"""`nwave tune`: the search of hyper-parameters."""

import os
from pathlib import Path
from typing import Annotated

import typer

from nwavesdk.cli.app import (
    Json,
    Ray,
    app,
    check_combinations,
    folder_option,
)
from nwavesdk.cli.train import finish_study
from nwavesdk.internal.files import check_folder
from nwavesdk.internal.imports import require
from nwavesdk.train.config import merge_choices

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

    Trials run side by side, and bad ones stop early. They are compared on the validation set. The
    same command continues a search that was killed; trials that have ended are not repeated.
    """
    from nwavesdk.analysis.study import RunSearch, TuneConfig, on_processes, on_ray

    if config is None:
        if out is None or not resume:
            raise ValueError(
                "CONFIG: missing, expected the TOML file of a search: give one, or --out DIR "
                "--resume to continue a search."
            )
        config = _search_file(out)
    require("optuna", "hpo")
    content = TuneConfig.read(config)
    if threads is not None:
        content = TuneConfig.of(
            merge_choices(content.model_dump(), {"search": {"threads": threads}})
        )
    settings = content.search
    folder = out or settings.out
    if folder is None:
        raise ValueError("--out: missing, expected a folder for the search: give one.")
    check_folder(Path(folder))
    if resume:
        _search_file(Path(folder))

    search = RunSearch.open(Path(folder), content)
    n_jobs = settings.max_concurrent or max(1, (os.cpu_count() or 1) // settings.threads)
    executor = on_processes(n_jobs)
    if ray:
        executor = on_ray(ray, settings.threads, int(search.uses_gpu), settings.max_concurrent)
    finish_study(search, executor, as_json)


def _search_file(folder: Path) -> Path:
    """The file of the search that `--resume` continues."""
    file = folder / "tune.json"
    if not file.is_file():
        raise ValueError(
            f"--resume: {folder} holds no search (no tune.json): remove --resume to begin one."
        )
    return file
