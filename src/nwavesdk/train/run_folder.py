"""The folder of a run: the names of its files, who owns it, and its numbers."""

import contextlib
import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from nwavesdk.internal.files import (
    UNSEALED,
    FileError,
    FileWriteError,
    check_seal,
    is_draft,
    parse_json,
    printable,
    read_bytes,
    remove_drafts,
    seal,
    write_atomically,
)
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.config import Count, RunConfig

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]  # tested before use

__all__ = ["WRITTEN_AGAIN", "BrokenRunError", "Result", "RunFolder"]

# The remedy for files of a finished run: they follow from its checkpoint.
WRITTEN_AGAIN = "remove it; `nwave train --resume` writes it again"

# Columns that `metrics.csv` has, next to those of each layer.
METRICS = {"epoch", "train_loss", "train_accuracy", "train_rate", "val_loss", "val_accuracy"}

Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class BrokenRunError(RuntimeError):
    """A run cannot begin or go on; the text says why, and what the user can do."""


class Result(FrozenModel):
    """The content of `result.json`."""

    test_accuracy: Share
    val_accuracy: Share
    val_loss: NotNegative
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    seconds: NotNegative
    epochs: Count
    best_epoch: Count
    rates: Annotated[tuple[Share, ...], Field(min_length=1)]
    dead: tuple[Share, ...]
    saturated: tuple[Share, ...]
    parameters: Count

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.best_epoch > self.epochs:
            raise ValueError(f"best_epoch: got {self.best_epoch} of {self.epochs} epochs")
        if not len(self.rates) == len(self.dead) == len(self.saturated):
            raise ValueError("rates, dead, saturated: expected a number for each layer")
        return self


class RunFolder:
    """The folder of one run.

    Args:
        path: The folder.

    Attributes:
        config: `config.json`, written first.
        checkpoint: The state of the run, written after each epoch.
        metrics: Table with one row per epoch.
        model: The selected weights and the scale of the features.
        result: `result.json`, written when all of the above is.
        pictures: Folder of the pictures.
        report: Page with pictures and numbers, written last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
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
        try:
            is_empty = all(is_draft(file) for file in self.path.iterdir())
        except FileNotFoundError:
            is_empty = True
        except NotADirectoryError:
            is_empty = False
        except (OSError, ValueError) as error:
            reason = printable(getattr(error, "strerror", None) or error)
            what = f"cannot be used ({reason})"
            raise FileError(self.path, what, "choose another folder for --out") from None
        if is_empty:
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

    def begin(self, config: RunConfig) -> None:
        """Make the folder and write the config; if several processes try, one succeeds.

        Raises:
            ValueError: If the folder is not free.
            FileWriteError: If the disk is full or the folder cannot be made.
        """
        self.check_free()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.config, config.json_text().encode(), replace=False)
        except OSError as error:
            # Another process may have begun a run, and then have removed the draft of this one.
            self.check_free()
            if isinstance(error, FileWriteError):
                raise
            reason = error.strerror or str(error)
            raise FileWriteError(error.errno, reason, str(self.path)) from error

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Own the run while it is trained, and remove what killed owners left half written.

        The lock ends with the process, however it ends.

        Raises:
            BrokenRunError: If another process trains the run.
            FileWriteError: If the folder cannot be written.
        """
        try:
            file = open(self.config, "rb+")  # noqa: SIM115  # closed below
        except OSError as error:
            reason = error.strerror or str(error)
            raise FileWriteError(error.errno, reason, str(self.config)) from error
        with file:
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BrokenRunError(
                    f"another process trains the run in {printable(self.path)}: "
                    "wait until it has ended, or stop it."
                ) from None
            except OSError:
                pass  # Some network file systems have no locks.
            for folder in (self.path, self.pictures):
                with contextlib.suppress(OSError):
                    remove_drafts(folder)
            yield

    def read_config(self) -> RunConfig:
        """The config of the run.

        Raises:
            ValueError: If there is no run in the folder, or its config is damaged.
        """
        if not self.config.is_file():
            raise ValueError(
                f"{printable(self.path)} holds no run (no config.json): "
                "give the folder of an earlier `nwave train`."
            )
        return RunConfig.read(self.config)

    def read_result(self) -> dict[str, Any]:
        """The numbers of a finished run, as in `Result`.

        Raises:
            FileError: If the file is missing or damaged.
        """
        try:
            content = read_bytes(self.result)
            values = parse_json(content, self.result)
            if "sha256" in values:  # results of earlier versions have no checksum
                check_seal(content, values.pop("sha256"), self.result)
            return Result.of(values).model_dump(mode="json")
        except FileError as error:
            raise FileError(self.result, error.what, WRITTEN_AGAIN) from None
        except ValueError as error:
            what = f"is not the result of a run ({error})"
            raise FileError(self.result, what, WRITTEN_AGAIN) from None

    def write_result(self, result: dict[str, Any]) -> None:
        """Write the numbers with a checksum, which marks the run as finished."""
        content = json.dumps({**result, "sha256": UNSEALED}, indent=2) + "\n"
        write_atomically(self.result, seal(content.encode()))

    def read_metrics(self) -> list[dict[str, float]]:
        """The metrics of each epoch; see `nwavesdk.train.progress.History`.

        Raises:
            FileError: If the file is missing or damaged.
        """
        try:
            text = read_bytes(self.metrics).decode()
            table = csv.DictReader(io.StringIO(text), strict=True)
            rows = [{name: float(cell) for name, cell in row.items()} for row in table]
            if not rows or not rows[0].keys() >= METRICS:
                raise ValueError(f"expected a table with {', '.join(sorted(METRICS))}")
            if [row["epoch"] for row in rows] != list(range(1, len(rows) + 1)):
                raise ValueError("expected a row for each epoch")
        except FileError as error:
            raise FileError(self.metrics, error.what, WRITTEN_AGAIN) from None
        except (ValueError, TypeError, AttributeError, csv.Error) as error:
            what = f"does not hold the metrics of a run ({printable(error)[:200]})"
            raise FileError(self.metrics, what, WRITTEN_AGAIN) from None
        return rows
