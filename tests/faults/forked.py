"""Commands in separate processes, which are forked from a server that has imported everything.

A command starts in milliseconds instead of seconds, so that thousands of them can be killed. It
runs as the console script does: its own session, folder, variables and output, one thread, and
whatever Python does at its end. Two things differ. Pictures are one fixed PNG, because drawing them
takes longer than everything else. `nwave compare` forks its processes, because new ones would
import everything again. `run_process` of the worker runs commands without any of this.
"""

import atexit
import base64
import importlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from faults.file_events import stop_at_operation
from faults.outcome import Case, Verdict
from faults.worker import Outcome, environment

# Time after which a command is killed. The machine of a test may be busy [s].
MOST_SECONDS = 120.0

# One pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJg"
    "gg=="
)


class Trial(NamedTuple):
    """Something to try.

    Attributes:
        name: Unique, and the same in each run; its first part is the group.
        run: Tries it in an empty folder, and returns what is wrong.
    """

    name: str
    run: Callable[[Path], list[str]]

    @property
    def group(self) -> str:
        """The first part of its name."""
        return self.name.split("/", 1)[0]

    def verdict(self, folder: Path) -> Verdict:
        """Try it, and remove the folder."""
        begin = time.monotonic()
        try:
            problems = self.run(folder)
        finally:
            for each in (folder, folder.with_name(f"{folder.name}.logs")):
                shutil.rmtree(each, ignore_errors=True)
        case = Case(self.name, ("…",), print)
        return Verdict(case, Outcome(0, "", "", time.monotonic() - begin), tuple(problems))


@dataclass(frozen=True)
class Setting:
    """What a process meets.

    Attributes:
        variables: Further environment variables.
        file_size: Largest size of a file that it may write [bytes].
        user: Number of the user that it runs as.
        root: Folder whose file operations are counted.
        stop_at: Number of the operation before which the process kills itself, counted from 1.
        log: File that lists the operations.
    """

    variables: Mapping[str, str] | None = None
    file_size: int | None = None
    user: int | None = None
    root: Path | None = None
    stop_at: int | None = None
    log: Path | None = None


class Started:
    """A process that runs.

    Attributes:
        process: The process; it leads a session.
    """

    def __init__(self, process: Any, output: Path) -> None:
        self.process = process
        self.output = output
        self._begin = time.monotonic()

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def signal(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process, not to those that it started."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def finish(self, most_seconds: float = MOST_SECONDS) -> Outcome:
        """Wait for the end of the process, and end what it has started."""
        self.process.join(most_seconds)
        failure = "it did not end in time" if self.process.is_alive() else ""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.join()
        stdout, stderr = (
            self.output.with_suffix(suffix).read_bytes().decode("utf-8", "surrogateescape")
            for suffix in (".out", ".err")
        )
        seconds = time.monotonic() - self._begin
        return Outcome(self.process.exitcode, stdout, stderr, seconds, failure)


def start(
    words: Sequence[str],
    folder: Path,
    setting: Setting = Setting(),
    function: Callable[..., object] | None = None,
) -> Started:
    """Start `nwave` with `words` in `folder`, or `function` with `words` as its arguments."""
    logs = folder.parent / f"{folder.name}.logs"
    logs.mkdir(exist_ok=True)
    output = logs / str(len(list(logs.glob("*.out"))))
    for suffix in (".out", ".err"):
        output.with_suffix(suffix).touch()
    arguments = (function or call_nwave, tuple(words), folder, output, setting)
    process = _server().Process(target=run_in_child, args=arguments)
    process.start()
    return Started(process, output)


def run(
    words: Sequence[str],
    folder: Path,
    setting: Setting = Setting(),
    function: Callable[..., object] | None = None,
) -> Outcome:
    """Run a command or a function to its end; see `start`."""
    return start(words, folder, setting, function).finish()


@cache
def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.warm", "faults.forked"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    return context


# In the process


def run_in_child(
    function: Callable[..., object],
    words: tuple[str, ...],
    folder: Path,
    output: Path,
    setting: Setting,
) -> None:
    """Run one command, and end the process as Python does."""
    os.setsid()
    os.chdir(folder)
    os.environ.update(setting.variables or {})
    sys.stdout.flush()
    sys.stderr.flush()
    for number, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_APPEND), number)
    _limit(setting)
    with replaced():
        try:
            function(*words)
        finally:
            atexit._run_exitfuncs()


def call_nwave(*words: str) -> None:
    """The console script."""
    from nwavesdk.cli import main

    sys.argv = ["nwave", *words]
    main()


@contextmanager
def replaced() -> Iterator[None]:
    """Replace what takes long; see the description of this file."""
    import torch

    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nwavesdk.train.report.render_png", lambda *_: PNG)
        cells = importlib.import_module("nwavesdk.analysis.cells")
        patch.setattr(cells.multiprocessing, "get_context", lambda *_: fork)
        yield


def _limit(setting: Setting) -> None:
    if setting.log is not None or setting.stop_at is not None:
        assert setting.root is not None
        stop_at_operation(setting.root, setting.stop_at, setting.log)
    if setting.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (setting.file_size, setting.file_size))
    if setting.user is not None:
        os.setgroups([])
        os.setgid(setting.user)
        os.setuid(setting.user)
