"""Choose defaults of `nwave train` on the validation sets of all development sets together.

Run: python -m benchmarks.recipe --data-folder FOLDER --vary learning.rate=2e-3,4e-3,8e-3

For each value, each set gets a run as of `nwave train --no-test`: no test set is read. Several
`--vary` give all combinations, and `--set` a choice of all runs, as in `--set learning.epochs=5`.
Values are JSON, or text: `--vary net.hidden=[128],[256,256]`. Of sets with cross-validation, the
first fold is trained. The validation scores go to `benchmarks/results/recipe/<name>.json`, runs
to `runs/recipe`; the same command continues what was killed.
"""

import itertools
import json
import os
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.development import DevelopmentSet, chosen_sets, find_data
from benchmarks.results import ROOT, write
from nwavesdk.analysis.study import on_processes
from nwavesdk.analysis.study.cells import run_cell
from nwavesdk.analysis.study.executors import finish_all
from nwavesdk.analysis.study.study import begin_study
from nwavesdk.cli.app import split_commas
from nwavesdk.train import RunFolder

__all__ = ["RESULTS", "Cell", "main", "merged", "parse_assignment", "table"]

RESULTS = ROOT / "benchmarks" / "results" / "recipe"
RUNS = ROOT / "runs" / "recipe"

# A comma that is in no bracket, brace or quotes.
COMMA = re.compile(r",(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)(?![^\[]*\])(?![^{]*\})(?![^(]*\))")

# Values by field, as in {"learning.rate": 4e-3}.
Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """The run of a set with a setting and a seed.

    Attributes:
        path: Folder of the run.
        data: The set.
        setting: What it varies.
        choices: All choices of the run, in the form of `RunConfig.of`.
    """

    path: Path
    data: DevelopmentSet
    setting: str
    choices: dict[str, Any]

    @property
    def name(self) -> str:
        """The set and the setting."""
        return f"{self.data.name}, {self.setting}"

    def numbers(self) -> dict[str, Any]:
        """The validation scores of the finished run, and its largest firing rate."""
        result = RunFolder(self.path).read_result()
        return {
            "validation": result["val_accuracy"],
            "loss": result["val_loss"],
            "rate": max(result["rates"], default=0.0),
            "seconds": result["seconds"],
        }


def parse_assignment(text: str) -> tuple[str, list[Any]]:
    """A field and its values.

    Raises:
        ValueError: If the text has no field of a section, or no value.

    Example:
        >>> parse_assignment("learning.rate=2e-3,4e-3")
        ('learning.rate', [0.002, 0.004])
        >>> parse_assignment("net.hidden=[128],[256,256]")
        ('net.hidden', [[128], [256, 256]])
        >>> parse_assignment("net.surrogate=atan(alpha=3),fast_sigmoid")
        ('net.surrogate', ['atan(alpha=3)', 'fast_sigmoid'])
    """
    field, _, values = text.partition("=")
    if not re.fullmatch(r"\w+\.\w+", field) or not values:
        raise ValueError(f"got {text!r}, expected SECTION.FIELD=VALUE, as in learning.rate=4e-3")
    return field, [parse_value(value.strip()) for value in COMMA.split(values)]


def parse_value(text: str) -> Any:
    """A value that is JSON, or the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def merged(choices: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """Choices of a run with the values of a setting.

    Example:
        >>> merged({"data": {"source": "digits"}}, {"data.limit": 60})
        {'data': {'source': 'digits', 'limit': 60}}
    """
    result = {name: dict(section) for name, section in choices.items()}
    for name, value in setting.items():
        section, field = name.split(".")
        result.setdefault(section, {})[field] = value
    return result


def source_hash() -> str:
    """A hash of the package's source text: runs of another one do not count."""
    folder = ROOT / "src" / "nwavesdk"
    texts = (path.read_bytes() for path in sorted(folder.rglob("*.py")))
    return sha256(b"\0".join(texts)).hexdigest()[:12]


def cells_of(
    places: Mapping[DevelopmentSet, Path | str],
    settings: Sequence[Setting],
    fixed: Setting,
    seeds: int,
    folder: Path,
) -> list[Cell]:
    """A cell for each setting, set and seed."""
    cells = []
    for setting, (data_set, source), seed in itertools.product(
        settings, places.items(), range(seeds)
    ):
        values = {**fixed, **setting, "data.test": False}
        if data_set.fold is not None:
            values["data.fold"] = data_set.fold
        choices = {**merged(data_set.choices(source), values), "seed": seed}
        content = json.dumps(choices, sort_keys=True).encode()
        path = folder / f"{data_set.name}-{sha256(content).hexdigest()[:12]}"
        cells.append(Cell(path, data_set, setting_text(setting), choices))
    return cells


def setting_text(setting: Setting) -> str:
    """A setting as text, without blanks.

    Example:
        >>> setting_text({"learning.rate": 0.004, "net.hidden": [128, 64]})
        'learning.rate=0.004 net.hidden=[128,64]'
    """
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for name, value in setting.items()
    }
    return " ".join(f"{name}={text}" for name, text in texts.items()) or "defaults"


def table(cells: Sequence[Cell]) -> Iterator[str]:
    """The lines of the table: validation accuracy by setting and set, with the largest rate."""
    names = list(dict.fromkeys(cell.data.name for cell in cells))
    yield f"| setting | {' | '.join(names)} | mean |"
    yield "|" + "---|" * (len(names) + 2)
    for setting in dict.fromkeys(cell.setting for cell in cells):
        texts = []
        means = []
        for name in names:
            chosen = [c for c in cells if (c.setting, c.data.name) == (setting, name)]
            numbers = [cell.numbers() for cell in chosen]
            mean = 100 * statistics.fmean(cell["validation"] for cell in numbers)
            rate = 100 * statistics.fmean(cell["rate"] for cell in numbers)
            means.append(mean)
            texts.append(f"{mean:.2f} (rate {rate:.1f})")
        yield f"| {setting} | {' | '.join(texts)} | {statistics.fmean(means):.2f} |"


def results_of(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """The numbers of all cells."""
    return [
        {
            "set": cell.data.name,
            "setting": cell.setting,
            "seed": cell.choices["seed"],
            **cell.numbers(),
        }
        for cell in cells
    ]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    data_folder: Annotated[Path, typer.Option(help="The folder with all sets.")] = Path("data"),
    vary: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE,…", help="Values to compare.")
    ] = None,
    fix: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="For all runs.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Names or kinds between commas.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time, on one thread each. [cores]")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the result. [the fields]")] = None,
) -> None:
    """Train all cells of the study, and print the table of validation scores."""
    axes = dict(map(parse_assignment, vary or []))
    settings = [
        dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())
    ]
    fixed = {field: values[0] for field, values in map(parse_assignment, fix or [])}
    sets = chosen_sets(None if only is None else split_commas("--only", only))
    paths = {data_set: find_data(data_set, data_folder.resolve()) for data_set in sets}
    places = {data_set: path for data_set, path in paths.items() if path is not None}
    for data_set in paths.keys() - places.keys():
        print(f"{data_set.name}: {data_set.path} is not in {data_folder}: skipped", file=sys.stderr)
    folder = RUNS / source_hash()
    begin_study(folder / "study.json", {"source": folder.name})
    cells = cells_of(places, settings, fixed, seeds, folder)
    missing = [cell for cell in cells if not RunFolder(cell.path).complete]
    with on_processes(jobs or os.cpu_count() or 1) as workers:
        pairs = [(cell, (str(cell.path), cell.choices, 1, None)) for cell in missing]
        finish_all(workers, run_cell, pairs, print_cell)
    file = RESULTS / f"{name or '-'.join(axes) or 'defaults'}.json"
    write(file, {"vary": axes, "set": fixed, "seeds": seeds, "runs": results_of(cells)})
    print(*table(cells), sep="\n")


def print_cell(cell: Cell, result: Callable[[], object]) -> None:
    """Print the score of a finished cell."""
    result()  # or its error
    print(f"{cell.name}: {100 * cell.numbers()['validation']:.2f} %", file=sys.stderr, flush=True)


if __name__ == "__main__":
    app()
