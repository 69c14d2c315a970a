"""The results of a search: JSON for scripts, lines for a terminal, pictures and a page."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nwavesdk.analysis.tested import MEASURE_TEXTS, first_measure
from nwavesdk.analysis.tune.pictures import importance_bars, parallel_coordinates
from nwavesdk.analysis.tune.proposals import LEAST_IMPORTANCE, importance
from nwavesdk.analysis.tune.study import Search, Trial
from nwavesdk.analysis.tune.winner import winner_folder
from nwavesdk.internal.files import one_line, write_atomically
from nwavesdk.train import BrokenRunError, RunFolder
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.report.page import Cell, Details, FactList, Page, Picture, Table
from nwavesdk.train.run_folder import lock

__all__ = ["check_any_finished", "search_json", "search_lines", "trial_line", "write_search"]

# Letters of an error that the table shows; the record of the trial has all of them.
MOST_LETTERS = 300


def check_any_finished(search: Search) -> Trial:
    """The best trial.

    Raises:
        BrokenRunError: If all trials have crashed.
    """
    best = search.best()
    if best is None:
        first = search.trials[0]
        raise BrokenRunError(
            f"all {len(search.trials)} trials crashed, the first with: "
            f"{first.record.error.rstrip('.')}: change the file of the search, and give another "
            f"--out; {first.path.with_suffix('.log')} has the whole error."
        )
    return best


def search_json(search: Search) -> dict[str, Any]:
    """Trials, the best one, its test and the importance of the fields of a finished search."""
    best = check_any_finished(search)
    shares, n_finished = _importance(search)
    winner = winner_folder(search)
    return {
        "search": str(search.path),
        "measure": f"val_{first_measure(best.result)}",
        "best": best.number,
        "values": search.values(best),
        "winner": {"run": str(winner.path), **winner.read_result()} if winner.complete else None,
        "importance": shares,
        "importance_trials": n_finished,
        "threads": search.threads,
        "trials": [_trial_json(search, trial) for trial in search.trials],
    }


def _trial_json(search: Search, trial: Trial) -> dict[str, Any]:
    record = trial.record
    numbers: dict[str, Any] = {}
    if trial.state == "finished":
        result = trial.result
        measure = f"val_{first_measure(result)}"
        numbers = {name: result[name] for name in (measure, "val_loss", "epochs", "seconds")}
    elif course := trial.course():
        last = max(course)
        row = RunFolder(trial.path).read_metrics()[-1]
        numbers = {f"val_{first_measure(row)}": course[last], "epochs": last}
    return {
        "number": trial.number,
        "state": trial.state,
        "values": search.values(trial),
        **numbers,
        **({"error": record.error} if record.error else {}),
        "run": str(trial.path),
    }


def search_lines(search: Search) -> list[str]:
    """The best trial and its test, for a terminal."""
    content = search_json(search)
    best = content["trials"][_place_of(content, content["best"])]
    measure = content["measure"]
    text = MEASURE_TEXTS[measure.removeprefix("val_")]
    counts = _counts(content)
    values = search.config.space
    lines = [
        f"{len(content['trials'])} trials: {counts}",
        f"best: trial {best['number']}, validation {text} {best[measure]:.4f}",
        *(f"  {name} = {values[name].text(value)}" for name, value in best["values"].items()),
    ]
    if content["winner"] is not None:
        score = content["winner"][measure.replace("val_", "test_")]
        lines.append(f"test {text} of the best trial: {score:.4f}, in {content['winner']['run']}")
    else:
        lines.append("the test set has not been read")
    return lines


def trial_line(search: Search, trial: Trial) -> str:
    """A line of progress for a trial that has ended."""
    record, course = trial.record, trial.course()
    if record.state == "crashed":
        what = f"crashed: {record.error}"
    elif record.state == "stopped":
        what = f"stopped after epoch {max(course, default=0)}"
    else:
        result = trial.result
        what = f"{result[f'val_{first_measure(result)}']:.4f} on the validation set"
    return f"{search.n_ended}/{search.config.search.trials}  {trial.name}: {what}"


def write_search(search: Search) -> Path:
    """Write `result.json`, `pictures` and `report.html` of a finished search.

    Returns:
        The page; `result.json` if the page cannot be written, which a line reports.

    Raises:
        FileError: If a file of a trial is damaged; nothing is written.
        BrokenRunError: If all trials have crashed, or another process works on the search.
    """
    numbers = search.path / "result.json"
    content = search_json(search)
    page = search.path / "report.html"
    with lock(search.file, "works on the search"):
        write_atomically(numbers, (json.dumps(content, indent=2) + "\n").encode())
        try:
            _write_page(search, content, page)
        except Exception as error:  # Whatever a page raises, the search is finished.
            print_line(
                f"nwave: warning: the search is finished, but {page} was not written "
                f"({one_line(error)}): the same command writes it again."
            )
            return numbers
    return page


def _write_page(search: Search, content: Mapping[str, Any], path: Path) -> None:
    measure, winner = content["measure"], content["winner"]
    text = MEASURE_TEXTS[measure.removeprefix("val_")]
    best = content["trials"][_place_of(content, content["best"])]
    headline = (f"{best[measure]:.4f}", f"validation {text} of trial {best['number']}")
    tested = "The test set has not been read."
    if winner is not None:
        score = winner[measure.replace("val_", "test_")]
        headline = (f"{score:.4f}", f"test {text} of the best trial")
        tested = (
            "Trials are compared on the validation set. The test set was read once, by the best "
            "trial, whose run and report are in the folder winner."
        )
    space = search.config.space
    facts = {
        "trials": _counts(content),
        f"best trial {best['number']}, validation {text}": f"{best[measure]:.4f}",
        **{name: space[name].text(value) for name, value in best["values"].items()},
        "importance": _importance_text(content),
    }
    page = Page(
        title=f"Search of {len(content['trials'])} trials",
        summary=tested,
        headline=headline,
        sections=[
            FactList(facts),
            *_pictures(search, content, f"validation {text}"),
            _table(search, content, text),
            Details(search.file.name, json.dumps(search.content(), indent=2)),
        ],
    )
    page.write(path)


def _pictures(search: Search, content: Mapping[str, Any], label: str) -> list[Picture]:
    best = _place_of(content, content["best"])
    space, tried = search.config.space, search.tried()
    shares, n_finished = content["importance"], content["importance_trials"]
    pictures = [
        Picture(
            "parallel_coordinates",
            "Each line is a trial: its values, and at the right its score. A dashed line is a "
            "trial that was stopped early, with the score of its last epoch. Crashed trials are "
            "left out.",
            partial(parallel_coordinates, space, tried, best, label),
        )
    ]
    if shares:
        caption = (
            "How much each field decides whether a trial is among the best tenth (PED-ANOVA of "
            f"Optuna), from {n_finished} finished trials. With few trials, this is mostly noise."
        )
        draw = partial(importance_bars, shares, n_finished)
        pictures.append(Picture("importance", caption, draw))
    return pictures


def _table(search: Search, content: Mapping[str, Any], text: str) -> Table:
    space = search.config.space
    nan = float("nan")
    rows: list[list[Cell]] = [
        [
            trial["number"],
            trial["state"],
            float(trial.get(content["measure"], nan)),
            float(trial.get("val_loss", nan)),
            int(trial.get("epochs", 0)),
            *(space[name].text(value) for name, value in trial["values"].items()),
            trial.get("error", "")[:MOST_LETTERS],
        ]
        for trial in content["trials"]
    ]
    columns = ["trial", "state", f"validation {text}", "validation loss", "epochs", *space, "error"]
    return Table(
        "Trials",
        "All trials. The score of a stopped trial is that of its last epoch.",
        columns,
        rows,
    )


def _importance(search: Search) -> tuple[dict[str, float], int]:
    """The importance of the fields, and the number of finished trials on which it rests."""
    shares = importance(search.config.space, search.tried())
    return {name: round(share, 6) for name, share in shares.items()}, len(search.finished())


def _importance_text(content: Mapping[str, Any]) -> str:
    n_finished = content["importance_trials"]
    if not content["importance"]:
        return (
            f"not computed: {n_finished} finished trials, expected at least {LEAST_IMPORTANCE} "
            "with different scores"
        )
    return f"from {n_finished} finished trials"


def _counts(content: Mapping[str, Any]) -> str:
    states = [trial["state"] for trial in content["trials"]]
    return ", ".join(
        f"{states.count(state)} {state}"
        for state in ("finished", "stopped", "crashed")
        if state in states
    )


def _place_of(content: Mapping[str, Any], number: int) -> int:
    return [trial["number"] for trial in content["trials"]].index(number)
