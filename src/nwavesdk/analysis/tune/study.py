"""A search of the choices of runs: its trials are ordinary runs of `nwave train`.

Design requirement: a trial does not read the test set. Only the winner does; see `winner`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nwavesdk.analysis.cells import Job, begin_study, check_unchanged
from nwavesdk.analysis.tested import first_measure
from nwavesdk.analysis.tune.config import TuneConfig, merged_choices
from nwavesdk.analysis.tune.folder import AnyTrial, Ended, Report, SearchFolder
from nwavesdk.analysis.tune.proposals import propose
from nwavesdk.analysis.tune.trial import run_trial
from nwavesdk.internal.files import FileError, one_line, read_bytes
from nwavesdk.internal.formats import parse_json
from nwavesdk.train import Run, RunConfig, RunFolder
from nwavesdk.train.run_folder import is_free

__all__ = ["Search", "Trial"]

FILE = "tune.json"

# Proposals that are tried before a search begins.
MOST_PREPARED = 3


@dataclass(frozen=True)
class Trial(AnyTrial):
    """One run of a search."""

    @property
    def is_complete(self) -> bool:
        return RunFolder(self.path).complete

    @property
    def result(self) -> dict[str, Any]:
        """The numbers of the finished run."""
        return RunFolder(self.path).read_result()

    @property
    def score(self) -> float:
        """The accuracy of the validation set, or R² for values."""
        result = self.result
        return float(result[f"val_{first_measure(result)}"])

    def course(self) -> dict[int, float]:
        folder = RunFolder(self.path)
        if not folder.metrics.is_file():
            return {}
        rows = folder.read_metrics()
        return {int(row["epoch"]): row[f"val_{first_measure(row)}"] for row in rows}


class Search(SearchFolder[Trial]):
    """A folder with the trials of a search.

    Args:
        path: The folder.
        config: The content of the file of the search, with absolute paths.
    """

    def __init__(self, path: Path, config: TuneConfig) -> None:
        super().__init__(path, config.search, config.space)
        self.config = config
        self._checked: dict[int, dict[str, Any]] = {}

    @classmethod
    def open(cls, path: Path, config: TuneConfig) -> "Search":
        """Begin or continue a search. The folder must be new, empty, or hold the same search.

        Raises:
            ValueError: If the data cannot be used or have changed since the search began, or the
                folder holds something else; nothing is written.
        """
        search = cls(path, config)
        begin_study(search.file, search.content(), search.prepare)
        if search.n_ended < search.settings.trials:
            check_unchanged([search.trial(number) for number in range(search.settings.trials)])
        return search

    @classmethod
    def read(cls, path: Path) -> "Search":
        """Continue the search in a folder.

        Raises:
            FileError: If the folder holds no search, or its file is damaged.
            ValueError: If the data have changed since the search began.
        """
        file = path / FILE
        if not file.exists():
            remedy = "give the folder of an earlier `nwave tune`, or a file to begin one"
            raise FileError(path, f"holds no search (no {FILE})", remedy)
        content = parse_json(read_bytes(file), file)
        try:
            config = TuneConfig.of(content).completed()
        except FileError:
            raise
        except ValueError as error:
            raise FileError(file, f"is not a search ({one_line(error)})", "restore it") from None
        return cls.open(path, config)

    def prepare(self) -> Run:
        """The run of the first proposal that can run; others may crash and are recorded.

        Raises:
            ValueError: What is wrong with the first one, if none can.
        """
        space, seed = self.config.space, self.config.search.seed
        errors: list[ValueError] = []
        for number in range(MOST_PREPARED):
            choices = self.choices(propose(space, [], seed, number))
            try:
                return Run.prepare(self.trial(number).path, RunConfig.of(choices))
            except ValueError as error:
                errors.append(error)
        raise errors[0]

    @property
    def file(self) -> Path:
        """`tune.json`: the content of the file of the search."""
        return self.path / FILE

    @property
    def uses_gpu(self) -> bool:
        accelerator = (self.config.run.get("machine") or {}).get("accelerator", "cpu")
        return bool(accelerator != "cpu")

    @property
    def work(self) -> Callable[[Job, Report], Ended]:
        return run_trial

    @property
    def reads_test(self) -> bool:
        """Whether the winner is tested."""
        data = self.config.run.get("data") or {}
        return bool(data.get("test", True))

    def content(self) -> dict[str, Any]:
        """The content of `tune.json`: everything on which results depend."""
        content = self.config.model_dump(mode="json")
        del content["search"]["out"]
        content["space"] = {
            field: dimension.model_dump(mode="json", exclude_defaults=True)
            for field, dimension in self.config.space.items()
        }
        return content

    def trial(self, number: int) -> Trial:
        return Trial(number, self.path.absolute() / f"trial-{number}")

    def values(self, trial: Trial) -> dict[str, Any]:
        """The value of each field in a trial, which is that of its run.

        Raises:
            FileError: If the record of the trial is damaged or that of another search or run.
        """
        values = super().values(trial)
        folder = RunFolder(trial.path)
        if self._checked.get(trial.number) == values or is_free(folder.path):
            return values
        if not folder.config.is_file():
            raise FileError(folder.config, "does not exist", "restore it")
        expected = RunConfig.of(self.choices(values)).model_dump()
        recorded = folder.read_config().model_dump()
        for field in self.space:
            section, _, name = field.rpartition(".")
            if section and expected[section][name] != recorded[section][name]:
                what = f"does not belong to {trial.path.name}, whose {field} is another one"
                raise FileError(
                    trial.file, what, f"restore it, or remove it with {trial.path.name}"
                )
        self._checked[trial.number] = values
        return values

    def choices(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The choices of a run with these values, in the form of `RunConfig.of`."""
        choices = merged_choices(self.config.run, values)
        choices["data"] = {**choices.get("data", {}), "test": False}
        # A trial occupies CPUs of the cluster, unless the file asks for a GPU.
        machine = {"accelerator": "cpu", **choices.get("machine", {})}
        choices["machine"] = {**machine, "threads": self.threads}
        return choices

    def job(self, trial: Trial) -> Job:
        return str(trial.path), self.choices(self.values(trial)), self.threads

    def best(self) -> Trial | None:
        """The finished trial with the best validation score, then loss; None without one."""

        def rank(trial: Trial) -> tuple[float, float, int]:
            return trial.score, -trial.result["val_loss"], -trial.number

        return max(self.finished(), key=rank, default=None)
