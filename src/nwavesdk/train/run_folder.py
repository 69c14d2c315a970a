"""The folder of a run: the names of its files, who owns it, and its numbers."""

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from nwavesdk.internal.files import (
    FileError,
    FileWriteError,
    is_draft,
    one_line,
    printable,
    read_bytes,
    reason_of,
    remove_drafts,
    write_atomically,
)
from nwavesdk.internal.formats import read_sealed, write_sealed
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.fields import Count

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]  # tested before use

__all__ = [
    "BrokenRunError",
    "BusyError",
    "Result",
    "RunFolder",
    "is_free",
    "lock",
    "loss_note",
    "reading",
    "write_first",
]

# The remedy for files of a finished run: they follow from its checkpoint.
WRITTEN_AGAIN = "remove it; `nwave train --resume` writes it again"

# Columns that `metrics.csv` has, next to those of each layer: for all tasks, and for each score.
METRICS = {"epoch", "train_loss", "train_rate", "val_loss"}
SCORES = ({"train_accuracy", "val_accuracy"}, {"train_r2", "val_r2"})

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AtMostOne = Annotated[float, Field(le=1, allow_inf_nan=False)]
Correlation = Annotated[float, Field(ge=-1, le=1)]

# Factor of the lowest validation loss from which on a loss is clearly higher.
CLEAR = 1.2

# The measures of each kind of task; the first one is always there.
MEASURES = (("accuracy", "balanced_accuracy", "f1"), ("r2", "mse", "correlation"))


class BrokenRunError(RuntimeError):
    """A run cannot begin or go on; the text says why, and what the user can do.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as path:
        ...     folder = RunFolder(Path(path, "run"))
        ...     folder.begin(Run.prepare("run", {"data": {"limit": 30}}).config)
        ...     with folder.lock(), folder.lock():  # doctest: +ELLIPSIS
        ...         pass
        Traceback (most recent call last):
        nwavesdk.train.run_folder.BusyError: another process trains the run in ...
    """


class BusyError(BrokenRunError):
    """Another process works on the same run or study."""


class Result(FrozenModel):
    """The content of `result.json`.

    Classes have accuracies and F1, values have R², mean squared error and correlation. The
    measures of the test set are missing as long as it was not read. Results of earlier versions
    lack `balanced_accuracy` and `f1`, and all from `hidden_rate` on: the costs of an inference,
    means over `counted_recordings` of the evaluated set, and the scores of simple models on it.
    Runs for a chip with plain training have a `projected_` score: that on the validation set after
    the weights were moved to values that the chip can hold.
    """

    test_accuracy: Share | None = None
    test_balanced_accuracy: Share | None = None
    test_f1: Share | None = None
    test_r2: AtMostOne | None = None
    test_mse: NotNegative | None = None
    test_correlation: Correlation | None = None
    val_accuracy: Share | None = None
    val_balanced_accuracy: Share | None = None
    val_f1: Share | None = None
    val_r2: AtMostOne | None = None
    val_mse: NotNegative | None = None
    val_correlation: Correlation | None = None
    val_loss: NotNegative
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    seconds: NotNegative
    epochs: Count
    best_epoch: Count
    lowest_loss: NotNegative | None = None
    lowest_loss_epoch: Count | None = None
    rates: Annotated[tuple[Share, ...], Field(min_length=1)]
    dead: tuple[Share, ...]
    saturated: tuple[Share, ...]
    parameters: Count
    hidden_rate: Share | None = None
    dense_macs: NotNegative | None = None
    effective_macs: NotNegative | None = None
    effective_acs: NotNegative | None = None
    neuron_updates: NotNegative | None = None
    counted_recordings: Count | None = None
    not_counted: tuple[str, ...] | None = None
    majority_accuracy: Share | None = None
    linear_accuracy: Share | None = None
    linear_r2: AtMostOne | None = None
    projected_accuracy: Share | None = None
    projected_r2: AtMostOne | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        names = {name for name in self.model_fields_set if getattr(self, name) is not None}
        of_classes, of_values = (
            {f"{part}_{measure}" for part in ("test", "val") for measure in measures} & names
            for measures in MEASURES
        )
        if bool(of_classes) == bool(of_values):
            got = ", ".join(sorted(of_classes | of_values)) or "none"
            raise ValueError(
                "val_accuracy, val_r2: expected the measures of classes or those of values, got "
                f"{got}"
            )
        first = MEASURES[0][0] if of_classes else MEASURES[1][0]
        if f"val_{first}" not in names:
            raise ValueError(f"val_{first}: missing")
        if any(name.startswith("test_") for name in names) and f"test_{first}" not in names:
            raise ValueError(f"test_{first}: missing, although there are others of the test set")
        if self.best_epoch > self.epochs:
            raise ValueError(
                f"best_epoch: expected at most {self.epochs}, the epochs, got {self.best_epoch}"
            )
        if not len(self.rates) == len(self.dead) == len(self.saturated):
            raise ValueError("rates, dead, saturated: expected a number for each layer")
        return self


def loss_note(result: Mapping[str, Any], config: CompletedConfig) -> str | None:
    """A sentence if validation was clearly better before the last epoch, which was kept.

    Args:
        result: The content of `result.json`; of earlier versions, it lacks the lowest loss.
        config: The config of the run.
    """
    lowest = result.get("lowest_loss")
    if lowest is None or config.learning.keep == "best" or result["val_loss"] <= CLEAR * lowest:
        return None
    return (
        f"the validation loss was clearly lower after epoch {result['lowest_loss_epoch']} "
        f"({lowest:.4f}) than after the last one, which is kept ({result['val_loss']:.4f}): try "
        "fewer --epochs, or --keep best"
    )


def is_free(folder: Path) -> bool:
    """Whether a folder is missing, or holds nothing but drafts of killed writes.

    Raises:
        FileError: If no folder can have this name, or it cannot be read.
    """
    try:
        return all(is_draft(file) for file in folder.iterdir())
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False
    except (OSError, ValueError) as error:
        what = f"cannot be used ({reason_of(error)})"
        raise FileError(folder, what, "choose another folder for --out") from None


def write_first(file: Path, content: bytes) -> None:
    """Make a folder and write its first file: of several processes that try, one succeeds.

    Raises:
        FileExistsError: If the file exists.
        FileWriteError: If the disk is full or the folder cannot be made.
    """
    try:
        write_atomically(file, content, replace=False)
    except OSError as error:
        # The process that was first may have removed the draft of this one.
        if file.is_file():
            raise FileExistsError(error.errno, "File exists", str(file)) from error
        raise FileWriteError(error.errno, reason_of(error), str(file.parent)) from error


@contextlib.contextmanager
def lock(file: Path, what: str) -> Iterator[None]:
    """Be the only process that works on something, and remove what killed ones left half written.

    The lock ends with the process, however it ends.

    Args:
        file: The first file of its folder.
        what: What to lock, for the message, such as "trains the run".

    Raises:
        BusyError: If another process has the lock.
        FileWriteError: If the folder cannot be written.
    """
    try:
        stream = open(file, "rb+")  # noqa: SIM115  # closed below
    except OSError as error:
        raise FileWriteError(error.errno, reason_of(error), str(file)) from error
    with stream:
        try:
            if fcntl is not None:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"another process {what} in {printable(file.parent)}: "
                "wait until it has ended, or stop it."
            ) from None
        except OSError:
            pass  # Some network file systems have no locks.
        for folder in (file.parent, file.parent / "pictures"):
            with contextlib.suppress(OSError):
                remove_drafts(folder)
        yield


@contextlib.contextmanager
def reading(file: Path, what: str) -> Iterator[None]:
    """Turn what a damaged file of a finished run raises into one line.

    Args:
        file: The file, which `nwave train --resume` writes again.
        what: What is wrong with it, such as "is not the result of a run".

    Raises:
        FileError: If the file cannot be used.
    """
    try:
        yield
    except FileError as error:
        raise FileError(file, error.what, WRITTEN_AGAIN) from None
    except (
        *(ValueError, TypeError, LookupError, AttributeError, RuntimeError),
        csv.Error,
    ) as error:
        raise FileError(file, f"{what} ({one_line(error)})", WRITTEN_AGAIN) from None


class RunFolder:
    """The folder of one run.

    Args:
        path: The folder.

    Attributes:
        config: The choices and the facts of the run, written first.
        net: The text of the page or file that builds the net, if the run has one. Nothing reads it.
        checkpoint: The state of the run, written after each epoch.
        metrics: Table with one row per epoch.
        model: The selected weights and the scale of the features.
        result: The numbers of the finished run, written after all of the above.
        pictures: Folder of the pictures.
        report: Page with pictures and numbers, written last.

    Example:
        >>> folder = RunFolder("runs/words")
        >>> folder.finished, folder.report.name
        (False, 'report.html')
        >>> folder.read_config()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: runs/words holds no run (no config.json): ...
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path = Path(path)
        self.config = path / "config.json"
        self.net = path / "net.py"
        self.checkpoint = path / "checkpoint.ckpt"
        self.metrics = path / "metrics.csv"
        self.model = path / "model.safetensors"
        self.result = path / "result.json"
        self.pictures = path / "pictures"
        self.report = path / "report.html"

    @property
    def finished(self) -> bool:
        """Whether the run finished: `result.json` exists."""
        return self.result.is_file()

    @property
    def complete(self) -> bool:
        """Whether the run finished and no file is missing that its checkpoint can restore."""
        files = (self.result, self.model, self.metrics, self.report)
        return all(file.is_file() for file in files)

    def check_free(self) -> None:
        """Reject a folder that holds anything but drafts of killed writes.

        Raises:
            ValueError: If the folder holds a run or other files, which are left untouched.
        """
        if is_free(self.path):
            return
        if not self.config.is_file():
            state = "is in use and holds no run: choose a new or empty folder for --out"
        elif self.finished:
            state = "already holds a finished run: choose another --out"
        else:
            state = (
                "already holds an unfinished run: add --resume to continue it, or choose "
                "another --out"
            )
        raise ValueError(f"{printable(self.path)} {state}.")

    def begin(self, config: CompletedConfig) -> None:
        """Make the folder and write the config; if several processes try, one succeeds.

        Raises:
            ValueError: If the folder is not free.
            FileWriteError: If the disk is full or the folder cannot be made.
        """
        self.check_free()
        try:
            write_first(self.config, config.json_text().encode())
        except FileExistsError:
            self.check_free()
            raise

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Own the run while it is trained; see `lock`."""
        return lock(self.config, "trains the run")

    def read_config(self) -> CompletedConfig:
        """The config of the run.

        Raises:
            ValueError: If there is no run in the folder, or its config is damaged.
        """
        if not self.config.is_file():
            remedy = "give the folder of an earlier `nwave train`"
            fold = self.path / "fold-1"
            if RunFolder(fold).config.is_file():
                remedy = f"it has the folds of a cross-validation, so give one, {printable(fold)}"
            raise ValueError(f"{printable(self.path)} holds no run (no config.json): {remedy}.")
        return CompletedConfig.read(self.config)

    @property
    def identity(self) -> str:
        """Text that differs between runs: the seals of model and result cover it."""
        return self.read_config().identity() if self.config.is_file() else ""

    def read_result(self) -> dict[str, Any]:
        """The numbers of a finished run, as in `Result`.

        Raises:
            FileError: If the file is missing or damaged.
        """
        owner = self.identity
        with reading(self.result, "is not the result of a run"):
            values = read_sealed(self.result, owner)
            return Result.of(values).model_dump(mode="json", exclude_none=True)

    def write_result(self, result: dict[str, Any]) -> None:
        """Write the numbers with a checksum, which marks the run as finished."""
        write_sealed(self.result, result, self.identity)

    def read_metrics(self) -> list[dict[str, float]]:
        """The metrics of each epoch; see `nwavesdk.train.fit.progress.History`.

        Raises:
            FileError: If the file is missing or damaged.
        """
        with reading(self.metrics, "does not hold the metrics of a run"):
            text = read_bytes(self.metrics).decode()
            table = csv.DictReader(io.StringIO(text), strict=True)
            rows = [{name: float(cell) for name, cell in row.items()} for row in table]
            names = rows[0].keys() if rows else set()
            if not names >= METRICS or not any(names >= score for score in SCORES):
                raise ValueError(f"expected a table with {', '.join(sorted(METRICS))} and scores")
            if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
                raise ValueError("expected a row for each epoch")
            return rows
