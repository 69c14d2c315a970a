"""A study: a folder, named cells, and a table of their results.

A cell is an ordinary run with the settings of the study and the changes of the cell. A comparison
of surrogates and a cross-validation differ only in their cells.
"""

import contextlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nwavesdk.analysis.run_batch import RunBatch, surrogate_sections
from nwavesdk.analysis.statistics import LIMITS, Pair, Summary, compare_pairs, summarize
from nwavesdk.analysis.study.cells import (
    MISSES,
    Cell,
    CrashError,
    Job,
    first_measure,
    run_cell,
    test_cell,
)
from nwavesdk.analysis.study.executors import Executor, finish_all
from nwavesdk.analysis.study.report import draw_values
from nwavesdk.internal.files import printable
from nwavesdk.internal.formats import UNSEALED, read_sealed, seal
from nwavesdk.internal.model import differences
from nwavesdk.surrogate import parse
from nwavesdk.train import BrokenRunError, Run, RunConfig, RunFolder
from nwavesdk.train.config import merge_choices
from nwavesdk.train.data.load import load_run_data
from nwavesdk.train.fit.progress import print_line
from nwavesdk.train.report.page import (
    FactList,
    Picture,
    Section,
    Table,
)
from nwavesdk.train.report.pictures import confusion_picture
from nwavesdk.train.run_folder import is_free, lock, reading_run_file, write_first

__all__ = [
    "FILE",
    "Study",
    "begin_study",
    "compare_surrogates",
    "cross_validate",
    "has_begun",
    "read_study",
]

FILE = "study.json"


def has_begun(file: Path) -> bool:
    """Whether a study has begun.

    Args:
        file: The file that describes the study.

    Raises:
        ValueError: If it has not begun, and its folder holds other files.
    """
    if file.exists():
        return True
    if not is_free(file.parent):
        raise ValueError(
            f"{printable(file.parent)} holds files that are not part of this study: choose a new "
            "or empty folder for --out."
        )
    return False


def begin_study(
    file: Path,
    content: Mapping[str, Any],
    run: Run | None = None,
    cells: Sequence[RunFolder] = (),
) -> None:
    """Write the file that describes a study. If it exists, compare it and the data of the study.

    The first cell that has begun compares its data. Otherwise, cells that have not begun would
    train on other data than the finished cells.

    Args:
        file: The file.
        content: All settings on which results depend.
        run: The first run. Its notes are printed, because the notes of all runs go to their logs.
        cells: The folders of all cells.

    Raises:
        ValueError: If the folder holds other files or another study, or the data have changed.
        FileError: If the file was edited.
        FileWriteError: If the file cannot be written.
    """
    if not has_begun(file):
        # The seal comes first, because the page of a net has an entry of the same name.
        text = json.dumps({"sha256": UNSEALED, **content}, indent=2) + "\n"
        with contextlib.suppress(FileExistsError):  # another process was faster
            write_first(file, seal(text.encode()))
        for note in run.notes if run is not None else ():
            print_line(f"nwave: note: {note}")

    faults = differences(json.loads(json.dumps(content)), read_study(file))
    texts = [f"{name}: got {got!r:.80}, expected {was!r:.80}" for name, got, was in faults]
    if texts:
        raise ValueError(
            f"{printable(file.parent)} holds another study ({'; '.join(texts[:5])}): choose "
            "another --out, or use the options with which it began."
        )

    begun = [folder for folder in cells if folder.config.is_file()]
    if 0 < len(begun) < len(cells):
        load_run_data(begun[0].read_config())


def read_study(file: Path) -> dict[str, Any]:
    """The settings with which a study began. Its seal shows whether they were edited.

    Raises:
        FileError: If the file is damaged, or if any part of it has changed.
    """
    with reading_run_file(
        file, "does not describe a study", "restore it; other settings need a new folder"
    ):
        return read_sealed(file)


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """The cells of a folder.

    Args:
        path: The folder.
        choices: The settings that all cells share, in the form of `RunConfig.of`.
        cells: The cells.
        threads: Number of threads of each cell.
        title: Title of the report.
        summary: Description of the report, in a sentence or two.
        has_test: Whether cells are tested. Tests follow when all cells are finished, so that no
            decision, such as to end the study early, depends on the test set.
    """

    path: Path
    choices: Mapping[str, Any]
    cells: Sequence[Cell]
    threads: int
    title: str
    summary: str
    has_test: bool = True

    @property
    def file(self) -> Path:
        """The path of `study.json`, which has all settings on which results depend."""
        return self.path / FILE

    @property
    def content(self) -> dict[str, Any]:
        """The content of `study.json`."""
        changes = {str(cell.path.relative_to(self.path)): cell.changes for cell in self.cells}
        return {"choices": self.choices, "threads": self.threads, "cells": changes}

    def begin(self, run: Run | None) -> None:
        """Begin or continue the study; see `begin_study`.

        Args:
            run: The first run; None if the study has begun.
        """
        begin_study(self.file, self.content, run, [cell.folder for cell in self.cells])

    def job(self, cell: Cell) -> Job:
        """The job that runs a cell. The run does not read its test set; see `has_test`."""
        choices = merge_choices(self.choices, cell.changes)
        return str(cell.path), merge_choices(choices, {"data": {"test": False}}), self.threads, None

    def missing(self) -> list[Cell]:
        """Cells that are not finished, or whose files are missing."""
        return [cell for cell in self.cells if not cell.folder.complete]

    def untested(self) -> list[Cell]:
        """Cells whose test is missing."""
        return [cell for cell in self.cells if self.has_test and not cell.test_file.is_file()]

    def finish(
        self, executor: Executor, on_finished: Callable[[Cell], None] = lambda _: None
    ) -> None:
        """Run all cells that are not finished, then test all cells.

        Args:
            executor: The processes that run the cells.
            on_finished: Called with each cell that is finished.

        Raises:
            BrokenRunError: If a cell fails, with its name and error; the other cells are killed,
                and the same command continues them. Also if another process works on the study.
        """
        if not self.missing() and not self.untested():
            return

        def check_end(cell: Cell, result: Callable[[], Any]) -> None:
            try:
                result()
            except (BrokenRunError, CrashError) as error:
                raise BrokenRunError(f"{cell.name}: {error}") from error

            if not cell.test_file.is_file():
                on_finished(cell)

        with lock(self.file, "works on the study"), executor as workers:
            for work, cells in ((run_cell, self.missing), (test_cell, self.untested)):
                jobs = [(cell, self.job(cell)) for cell in cells()]
                finish_all(workers, work, jobs, check_end)

    @property
    def score(self) -> str:
        """Name of the number by which arms are compared, such as `test_accuracy`."""
        part = "test" if self.has_test else "val"
        return f"{part}_{first_measure(self.cells[0].numbers)}"

    @property
    def lower_is_better(self) -> bool:
        """Whether the score is an error."""
        return self.score.endswith(MISSES)

    def values(self, name: str) -> dict[str, list[float]]:
        """A number of all cells by arm, in the order of cells; numbers by layer are averaged.

        A number that a run lacks, such as the latency of a detector without detections, is NaN.
        """
        arms: dict[str, list[float]] = {}
        for cell in self.cells:
            value = np.mean(np.array(cell.numbers[name], np.float64))
            arms.setdefault(cell.arm, []).append(float(value))
        return arms

    def summaries(self, name: str) -> dict[str, Summary]:
        """Mean and interval of a number, by arm."""
        limits = LIMITS.get(name.partition("_")[2], (-math.inf, math.inf))
        return {arm: summarize(values, limits=limits) for arm, values in self.values(name).items()}

    def pairs(self) -> list[Pair]:
        """The difference between each pair of arms, paired by seed."""
        return compare_pairs(self.values(self.score), lower_is_better=self.lower_is_better)

    @property
    def headline(self) -> tuple[str, str]:
        """The best mean, and the arm that has it."""
        means = self.summaries(self.score)
        best = min if self.lower_is_better else max
        arm = best(means, key=lambda name: means[name].mean)
        return f"{means[arm].mean:.4f}", f"mean {self.score.replace('_', ' ')} of {arm}"

    @property
    def tables(self) -> dict[str, Table]:
        """Means of all numbers, and differences of the score between arms."""
        part = self.score.partition("_")[0]
        first = self.cells[0].numbers
        names = [
            name
            for name, value in first.items()
            if name.startswith(f"{part}_") and not isinstance(value, list | dict)
        ]

        means = Table(
            "Means",
            "Over the runs of an arm, with the 95 % interval of Student's t.",
            ["arm", "number", *Summary.__dataclass_fields__],
            [
                [arm, name, *vars(summary).values()]
                for name in [*names, "rates", "dead", "saturated"]
                for arm, summary in self.summaries(name).items()
            ],
        )
        differences = Table(
            "Differences",
            "Paired by seed. Intervals hold for all pairs jointly (Bonferroni), p values are "
            "corrected for the number of pairs (Holm).",
            [*Pair.__dataclass_fields__],
            [[*vars(pair).values()] for pair in self.pairs()],
        )

        # A study of one arm has no differences.
        return {"means": means, **({"differences": differences} if differences.rows else {})}

    @property
    def sections(self) -> list[Section]:
        """The score of each cell, and pictures of its subject.

        For a comparison of surrogates, these are their derivatives and gradients; for folds, the
        confusion matrix of all.
        """
        label = self.score.replace("_", " ")
        draw = partial(draw_values, self.values(self.score), self.summaries(self.score), label)
        caption = f"The {label} of each run, the mean of each arm and its 95 % interval."

        first = self.cells[0]
        facts = first.folder.read_config().facts
        sections: list[Section] = [
            Picture("values", caption, draw),
            FactList({"split of the first run": facts.split_reason}),
        ]

        surrogates = {
            cell.arm: parse(cell.values["net.surrogate"])
            for cell in self.cells
            if "net.surrogate" in cell.values
        }
        if surrogates:
            batch = RunBatch.open(first.path, 1, self.choices.get("net", {}).get("page"))
            return sections + surrogate_sections(surrogates, batch, batch.record_pass().recording)

        confusion: Any = sum(np.array(cell.numbers.get("confusion", 0)) for cell in self.cells)
        if confusion.size > 1:
            draw_all = partial(confusion_picture, confusion, facts.classes, decisions="decisions")
            caption = "All decisions by true and predicted class, each in one fold."
            sections.append(Picture("confusion_matrix", caption, draw_all))
        return sections


def compare_surrogates(
    path: Path,
    surrogates: Sequence[str],
    seeds: int,
    choices: Mapping[str, Any],
    threads: int,
) -> Study:
    """Begin or continue a comparison: a cell for each surrogate and seed.

    All cells with the same seed share initial weights, order of data, dropout and mismatch.

    Args:
        path: The folder; new, empty, or with the same study.
        surrogates: The surrogate of each arm, in the form of `nwave train --surrogate`. A surrogate
            may occur twice.
        seeds: Number of seeds, at least 1. The seeds are 0, 1 and so on.
        choices: All other settings of a run, in the form of `RunConfig.of`.
        threads: Number of threads of each run.

    Raises:
        ValueError: If a setting is out of its range, if the data cannot be used, or if the folder
            holds other files; nothing is written.
    """
    # The default net is `lif`, unless there is a chip or the net is from a file.
    if not choices.get("chip") and "page" not in choices.get("net", {}):
        choices = merge_choices({"net": {"name": "lif"}}, choices)
    choices = merge_choices(RunConfig.of(choices).given(), {"data": {"test": False}})

    nets = [{"net": {"surrogate": surrogate}} for surrogate in surrogates]
    configs = [RunConfig.of(merge_choices(choices, net)) for net in nets]
    labels = [config.net.surrogate for config in configs]
    folders = [
        path / f"{index}-{re.sub(r'[^a-z0-9_.]+', '-', label.lower()).strip('-')}"
        for index, label in enumerate(labels)
    ]
    # A repeated surrogate gets a number, so that the names of arms differ.
    counts = [labels[: index + 1].count(label) for index, label in enumerate(labels)]
    arms = [f"{label} #{n}" if n > 1 else label for label, n in zip(labels, counts, strict=True)]

    # Seed by seed, so that an interrupted study has all arms of its first seeds.
    cells = [
        Cell(f"{arm}, seed {seed}", folder / f"seed-{seed}", changes={"seed": seed, **net}, arm=arm)
        for seed in range(seeds)
        for arm, folder, net in zip(arms, folders, nets, strict=True)
    ]

    study = Study(
        path=path,
        choices=choices,
        cells=cells,
        threads=threads,
        title=f"{len(arms)} surrogate{'s' * (len(arms) > 1)}, {seeds} seed{'s' * (seeds > 1)}",
        summary="For a given seed, all arms share initial weights, order of data, dropout and "
        "mismatch. Spikes of a forward pass do not depend on the surrogate, only what the net "
        "learns does.",
    )
    # All cells have the same data, so an error in the first run would occur in all of them.
    study.begin(None if has_begun(study.file) else Run.prepare(cells[0].path, configs[0]))
    return study


def cross_validate(path: Path, choices: Mapping[str, Any], threads: int) -> Study:
    """Begin or continue a cross-validation: a cell for each fold.

    Args:
        path: The folder; new, empty, or with the same study.
        choices: Settings in the form of `RunConfig.of`, with `data.folds` or `data.leave_one_out`.
        threads: Number of threads of each run.

    Raises:
        ValueError: If a setting is out of its range, if the data cannot be used or cannot be
            divided into these folds, or if the folder holds other files; nothing is written.
    """
    config = RunConfig.of(merge_choices(choices, {"data": {"fold": 1}}))
    if config.machine.devices > 1:
        raise ValueError(
            "machine.devices: folds run side by side, each on one device, got "
            f"{config.machine.devices}: remove the option."
        )
    if config.learning.finetune is not None:
        raise ValueError(
            "learning.finetune: the folds have other training sets than a single run, got "
            f"{config.learning.finetune}: remove the option, or fine-tune the run of each fold."
        )

    # Only the first run knows the number of folds: with `leave_one_out`, it depends on the data.
    run = None if has_begun(path / FILE) else Run.prepare(path / "fold-1", config)
    n_folds = len(read_study(path / FILE)["cells"]) if run is None else run.config.facts.n_folds

    cells = [
        Cell(
            f"fold {number}",
            path / f"fold-{number}",
            changes={"data": {"fold": number}},
            arm="folds",
        )
        for number in range(1, n_folds + 1)
    ]

    has_test = config.data.test
    summary = (
        "Each recording is tested in one fold, whose net has not learned from it. Folds share "
        "training recordings, so intervals are approximate."
        if has_test
        else "No test set has been read: all numbers are of validation sets."
    )
    study = Study(
        path=path,
        choices=RunConfig.of(choices).given(),
        cells=cells,
        threads=threads,
        has_test=has_test,
        title=f"{n_folds} folds",
        summary=summary,
    )
    study.begin(run)
    return study
