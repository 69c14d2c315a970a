"""The folder of a run: the names of its files, who owns it, and its numbers."""

import contextlib
import csv
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nwavesdk.internal.files import (
    FileError,
    FileWriteError,
    is_draft,
    one_line,
    printable,
    read_bytes,
    remove_drafts,
    write_atomically,
)
from nwavesdk.internal.formats import read_sealed, write_sealed
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.net_file import NetPage

__all__ = [
    "BrokenRunError",
    "BusyError",
    "NetChoice",
    "RunFolder",
    "is_free",
    "lock",
    "match_page",
    "packaged_runs",
    "reading_run_file",
    "write_first",
]

# The remedy for files of a finished run, which can be written again from its checkpoint.
WRITTEN_AGAIN = "remove it; `nwave train --resume` writes it again"

# Trained runs that are part of this package, each in a folder with its name.
PACKAGED = Path(__file__).with_name("packaged")

# The file of a net, as functions take it; for a run of a preset, also the name of the preset.
NetChoice = str | os.PathLike[str] | Mapping[str, str]


class BrokenRunError(RuntimeError):
    """A run cannot begin or continue; the text has the reason and the remedy.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from nwavesdk.train import Run
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


def packaged_runs() -> list[str]:
    """The names of the trained runs that are part of this package.

    Example:
        >>> packaged_runs()
        ['wake-words']
    """
    return sorted(folder.name for folder in PACKAGED.iterdir())


def is_free(folder: Path) -> bool:
    """Whether a folder is missing, or holds nothing but drafts of killed writes.

    Raises:
        OSError: If it cannot be read.
    """
    if not os.path.lexists(folder):
        return True
    return folder.is_dir() and all(map(is_draft, folder.iterdir()))


def write_first(file: Path, content: bytes) -> None:
    """Make a folder and write its first file: of several processes that try, one succeeds.

    Raises:
        FileExistsError: If the file exists.
        FileWriteError: If the disk is full or the folder cannot be made.
    """
    try:
        write_atomically(file, content, replace=False)
    except FileWriteError as error:
        # The first process may have removed the draft of this process.
        if file.is_file():
            raise FileExistsError(error.errno, "File exists", str(file)) from error
        raise


@contextlib.contextmanager
def lock(file: Path, activity: str) -> Iterator[None]:
    """Hold the lock of a folder for this process, and remove drafts of killed processes.

    The lock ends with the process, however it ends.

    Args:
        file: The first file of its folder, which gets a file `.lock` that stays.
        activity: The locked activity, for the message, such as "trains the run".

    Raises:
        BusyError: If another process has the lock.
        OSError: If the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # takes time to import

    try:
        owned = FileLock(file.with_name(".lock")).acquire(timeout=0)
    except Timeout:
        raise BusyError(
            f"another process {activity} in {printable(file.parent)}: "
            "wait until it has ended, or stop it."
        ) from None

    with owned:
        for folder in (file.parent, file.parent / "pictures"):
            with contextlib.suppress(OSError):
                remove_drafts(folder)
        yield


@contextlib.contextmanager
def reading_run_file(file: Path, fault: str, remedy: str = WRITTEN_AGAIN) -> Iterator[None]:
    """Turn any error of a damaged file of a run or a study into one line.

    Args:
        file: The file.
        fault: The fault of a damaged file, such as "is not the result of a run".
        remedy: The remedy. [`nwave train --resume` writes the file again]

    Raises:
        FileError: If the file cannot be used.
    """
    try:
        yield
    except FileError as error:
        raise FileError(file, error.fault, remedy) from None
    except (ValueError, TypeError, LookupError, RuntimeError, csv.Error) as error:
        raise FileError(file, f"{fault} ({one_line(error)})", remedy) from None


def match_page(config: CompletedConfig, given: NetChoice | None, run: Path) -> CompletedConfig:
    """The config of a run with the present path of the file that builds its net.

    The path in a config is never used, because a config may come from anywhere, and the file is
    code: the user must pass the file. For a preset, the page of this package is used, if the run
    began with the same page.

    Args:
        config: The config of the run.
        given: The file that the user passes, or the name of the run's preset, or None.
        run: The folder of the run, for messages.

    Raises:
        ValueError: If a file is missing or is not the file of the run.
    """
    recorded = config.page
    if given is None and config.net.name == "file":
        raise ValueError(
            f"--net: missing, {printable(run)} has a net from a file, expected --net "
            f"{recorded.name} (net=), with the SHA-256 {recorded.sha256[:12]}…: pass the file, "
            f"whose text is in {printable(run / 'net.py')}."
        )

    if isinstance(given, Mapping):
        page = NetPage.of(given)
    else:
        try:
            page = NetPage.parse(os.fspath(given or config.net.name))
        except ValueError as error:
            raise ValueError(f"--net: {error}") from None

    if (page.sha256, page.function) != (recorded.sha256, recorded.function):
        raise ValueError(
            f"--net: {printable(run)} began with {recorded.name}, SHA-256 {recorded.sha256[:12]}…, "
            f"got {page.name}, SHA-256 {page.sha256[:12]}…: pass --net "
            f"{printable(run / 'net.py')}:{recorded.function} (net=), or begin a new run."
        )
    return config.model_copy(update={"page": page})


class RunFolder:
    """The folder of one run.

    Args:
        path: The folder.

    Attributes:
        config: The choices and the facts of the run, written first.
        net: A copy of the page or file that builds the net. Nothing reads it.
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

    @classmethod
    def find(cls, path: str | Path) -> "RunFolder":
        """The folder of a run, or of a packaged run if the path is its name and does not exist.

        Example:
            >>> RunFolder.find("runs/words").is_packaged, RunFolder.find("wake-words").is_packaged
            (False, True)
        """
        is_packaged = str(path) in packaged_runs() and not os.path.lexists(path)
        return cls(PACKAGED / path if is_packaged else path)

    @property
    def is_packaged(self) -> bool:
        """Whether the run is part of this package."""
        return self.path.parent == PACKAGED

    @property
    def finished(self) -> bool:
        """Whether the run finished: `result.json` exists."""
        return self.result.is_file()

    @property
    def complete(self) -> bool:
        """Whether the run finished and no file is missing that its checkpoint can restore."""
        return all(map(Path.is_file, (self.result, self.model, self.metrics, self.report)))

    def check_free(self) -> None:
        """Reject a folder that holds anything but drafts of killed writes.

        Raises:
            ValueError: If the folder holds a run or other files, which are left untouched.
        """
        if is_free(self.path):
            return
        state = "is in use and holds no run: choose a new or empty folder for --out"
        if self.config.is_file():
            state = "already holds a run: add --resume to finish it, or choose another --out"
        raise ValueError(f"{printable(self.path)} {state}.")

    def begin(self, config: CompletedConfig) -> None:
        """Make the folder and write the config; if several processes try, one succeeds.

        Lists of numbers are on one line.

        Raises:
            ValueError: If the folder is not free.
            FileExistsError: If another process began a run in it at the same time.
            FileWriteError: If the disk is full or the folder cannot be made.
        """
        self.check_free()
        text = config.model_dump_json(indent=2)
        lines = re.sub(r"\[[^][{}\"]*\]", lambda numbers: " ".join(numbers[0].split()), text)
        write_first(self.config, f"{lines}\n".encode())

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Own the run while it is trained; see `lock`."""
        return lock(self.config, "trains the run")

    def read_config(self) -> CompletedConfig:
        """The config of the run.

        Raises:
            ValueError: If there is no run in the folder, or its config is damaged.
        """
        if not self.config.is_file():
            raise ValueError(
                f"{printable(self.path)} holds no run (no config.json): pass the folder of an "
                "earlier `nwave train`, or one fold of a cross-validation, such as fold-1. "
                "`nwave detect`, `predict` and `export --torch` or `--onnx` also take the name of "
                f"a packaged run, unless a file has it: {', '.join(packaged_runs())}."
            )
        return CompletedConfig.read(self.config)

    @property
    def identity(self) -> str:
        """A text that identifies the run; the seals of model and result cover it.

        A packaged run has none: in a later version, its config may have more fields.
        """
        if self.is_packaged or not self.config.is_file():
            return ""
        return self.read_config().identity()

    def read_result(self) -> dict[str, Any]:
        """The numbers of a finished run; docs/reference/files.md lists them.

        Raises:
            FileError: If the file is missing, damaged, or belongs to another run.
        """
        identity = self.identity  # an error of the config names its file
        with reading_run_file(self.result, "is not the result of a run"):
            return read_sealed(self.result, identity)

    def write_result(self, result: dict[str, Any], identity: str) -> None:
        """Write the numbers, sealed with the identity of the run, which marks it as finished."""
        write_sealed(self.result, result, identity)

    def read_metrics(self) -> list[dict[str, float]]:
        """The metrics of each epoch; see `nwavesdk.train.fit.progress.History`.

        Raises:
            FileError: If the file is missing or damaged.
        """
        with reading_run_file(self.metrics, "does not hold the metrics of a run"):
            table = csv.DictReader(read_bytes(self.metrics).decode().splitlines(), strict=True)
            rows = [{name: float(cell) for name, cell in row.items()} for row in table]
            if [row["epoch"] for row in rows] != [*range(1, len(rows) + 1)] or not rows:
                raise ValueError("expected a row for each epoch")
            return rows
