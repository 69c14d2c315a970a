"""A study: surrogates × seeds, with one run of `nwave train` for each cell.

Design requirement: the test set is read when all runs are finished, so that no choice, such as to
end the study early, depends on it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from nwavesdk.analysis.cells import MOST_THREADS, Job, begin_study, check_unchanged
from nwavesdk.analysis.statistics import Pair, Summary, compare_pairs, limits_of, summarize
from nwavesdk.analysis.tested import file_of_test, first_measure, read_tested
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.files import read_bytes
from nwavesdk.internal.formats import check_seal
from nwavesdk.train import Run, RunConfig, RunFolder
from nwavesdk.train.config import merge_choices

__all__ = ["Cell", "Study"]

# Bounds exclude mistakes; a study of so many seeds would never end.
MOST_SEEDS = 10_000

# Largest file of weights that is read [bytes].
MOST_MODEL_BYTES = 2**32


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Attributes:
        arm: Name of the surrogate's arm.
        surrogate: The surrogate.
        seed: Seed of the run. Arms with the same seed share initial weights, order of data, dropout
            and mismatch.
        path: Folder of the run.
    """

    arm: str
    surrogate: str
    seed: int
    path: Path

    @property
    def name(self) -> str:
        """The arm and the seed, for lines and errors."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def result(self) -> dict[str, Any]:
        """The numbers of the finished run, with those of its test if it has been tested."""
        result = RunFolder(self.path).read_result()
        if file_of_test(self.path).is_file():
            result |= read_tested(self.path).numbers
        return result

    @property
    def weights_sha256(self) -> str:
        """Hash of the file of the selected weights.

        Raises:
            FileError: If the file cannot be read, or is damaged.
        """
        folder = RunFolder(self.path)
        content = read_bytes(folder.model, MOST_MODEL_BYTES)
        check_seal(content, folder.model, folder.identity)
        return sha256(content).hexdigest()


class Study:
    """A folder with the runs of a study.

    Args:
        path: The folder.
        surrogates: One for each arm, in the form of `nwave train --surrogate`. A surrogate may
            occur twice.
        seeds: Number of seeds; they count from 0.
        choices: All other choices of a run, in the form of `RunConfig.of`.
        threads: Number of threads of each run.
    """

    def __init__(
        self,
        path: Path,
        surrogates: Sequence[str],
        seeds: int,
        choices: Mapping[str, Any],
        threads: int,
    ) -> None:
        self.path = path
        self.surrogates = tuple(surrogates)
        self.seeds = seeds
        self.choices = dict(choices)
        self.threads = threads

    @classmethod
    def open(
        cls,
        path: Path,
        surrogates: Sequence[str],
        seeds: int,
        choices: Mapping[str, Any],
        threads: int,
    ) -> "Study":
        """Begin or continue a study. The folder must be new, empty, or hold the same study.

        Raises:
            ValueError: If a choice is out of its range, if there are fewer than two arms, if the
                data cannot be used, or if the folder holds something else; nothing is written.
        """
        if len(surrogates) < 2:
            raise ValueError(
                f"a comparison needs at least two surrogates, got {list(surrogates)}: separate "
                "them by commas."
            )
        whole_number("compare", "seeds", seeds, most=MOST_SEEDS)
        whole_number("compare", "threads", threads, most=MOST_THREADS)
        choices = RunConfig.of(_with_net(choices)).given()
        configs = [RunConfig.of(_cell_choices(choices, s, 0)) for s in surrogates]
        study = cls(path, [config.net.surrogate for config in configs], seeds, choices, threads)
        # All cells have the same data: an error of each cell is one of the whole study.
        begin_study(
            study.file, study.content(), lambda: Run.prepare(study.cells[0].path, configs[0])
        )
        check_unchanged(study.cells)
        return study

    @property
    def file(self) -> Path:
        """`study.json`: the choices of the study."""
        return self.path / "study.json"

    def content(self) -> dict[str, Any]:
        """The content of `study.json`: everything on which results depend."""
        return {
            "surrogates": self.surrogates,
            "seeds": self.seeds,
            "choices": self.choices,
            "threads": self.threads,
        }

    @cached_property
    def arms(self) -> dict[str, str]:
        """Name and surrogate of each arm; a repeated surrogate gets a number."""
        arms: dict[str, str] = {}
        for index, surrogate in enumerate(self.surrogates):
            count = self.surrogates[: index + 1].count(surrogate)
            arms[surrogate if count == 1 else f"{surrogate} #{count}"] = surrogate
        return arms

    @cached_property
    def cells(self) -> list[Cell]:
        """All cells, seed by seed, so that an unfinished study has complete seeds."""
        folders = [
            self.path / f"{index}-{re.sub(r'[^a-z0-9_.]+', '-', surrogate.lower()).strip('-')}"
            for index, surrogate in enumerate(self.surrogates)
        ]
        return [
            Cell(arm, surrogate, seed, folder / f"seed-{seed}")
            for seed in range(self.seeds)
            for (arm, surrogate), folder in zip(self.arms.items(), folders, strict=True)
        ]

    def job(self, cell: Cell) -> Job:
        """What a process needs to run a cell: path, choices, threads."""
        choices = _cell_choices(self.choices, cell.surrogate, cell.seed)
        return str(cell.path), choices, self.threads

    def missing(self) -> list[Cell]:
        """Cells that are not finished, or whose finished run lacks files."""
        return [cell for cell in self.cells if not RunFolder(cell.path).complete]

    def untested(self) -> list[Cell]:
        """Finished cells whose test set has not been read."""
        return [cell for cell in self.cells if not file_of_test(cell.path).is_file()]

    @cached_property
    def measure(self) -> str:
        """What arms are compared by, by any finished cell: `"accuracy"`, or `"r2"` for values."""
        finished = (cell for cell in self.cells if RunFolder(cell.path).complete)
        return first_measure(next(finished, self.cells[0]).result)

    def accuracies(self) -> dict[str, list[float]]:
        """Test accuracies of each arm, or R² of the test set, in the order of seeds."""
        name = f"test_{self.measure}"
        return {
            arm: [cell.result[name] for cell in self.cells if cell.arm == arm] for arm in self.arms
        }

    def summaries(self) -> dict[str, Summary]:
        """Mean and interval of each arm."""
        limits = limits_of(self.measure)
        return {arm: summarize(values, limits=limits) for arm, values in self.accuracies().items()}

    def pairs(self) -> list[Pair]:
        """The difference of every two arms."""
        return compare_pairs(self.accuracies())


def _cell_choices(choices: Mapping[str, Any], surrogate: str, seed: int) -> dict[str, Any]:
    """The choices of one run."""
    cell = {"seed": seed, "data": {"test": False}, "net": {"surrogate": surrogate}}
    return merge_choices(choices, cell)


def _with_net(choices: Mapping[str, Any]) -> dict[str, Any]:
    """The choices of a study; without another choice, it has the net of plain layers."""
    has_net = choices.get("chip") or "page" in choices.get("net", {})
    return dict(choices) if has_net else merge_choices({"net": {"name": "lif"}}, choices)
