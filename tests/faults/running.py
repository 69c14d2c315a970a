"""Commands in separate processes, which are forked from a server that has imported everything.

A command starts in milliseconds instead of seconds, so that thousands of them can be tried. It
runs as the console script does: its own session, folder, variables and output, one thread, and
whatever Python does at its end. Two things differ: `nwave compare` forks its processes, and
pictures of a run are one fixed PNG unless a setting asks for real ones.
"""

import atexit
import base64
import errno
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

import nwavesdk

TESTS = Path(__file__).parent.parent
SOURCE = Path(nwavesdk.__file__).parent.parent

# Limits of one command. The machine of a test may be busy.
MAX_SECONDS = 120.0
MAX_BYTES = 4 * 2**30

# Audit events of Python that change a folder, except for "open".
OPERATIONS = {"os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir"}
MAKING = {"open", "os.mkdir", "os.link", "os.symlink"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# One pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJg"
    "gg=="
)


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Exit code; negative if a signal ended the process.
        stdout: Standard output; bytes that are not UTF-8 are surrogates.
        stderr: Standard error.
        seconds: Time it took.
        failure: Why the process was ended from the outside; empty if it ended itself.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float = 0.0
    failure: str = ""

    @property
    def last_line(self) -> str:
        """The last line of standard error."""
        return "".join(self.stderr.strip().splitlines()[-1:])[:300]


def kill_itself() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Setting:
    """The conditions of a process.

    Attributes:
        variables: Further environment variables.
        encoding: Encoding of the output.
        draws: Whether pictures of a run are drawn.
        file_size: Largest size of a file that it may write [bytes].
        root: Folder whose file operations are counted.
        stop_at: Number of the operation before which `action` runs, counted from 1.
        action: Runs in the process before that operation.
        is_full: Whether the disk is full from that operation on, in place of `action`.
        log: File that lists the operations.
    """

    variables: Mapping[str, str] | None = None
    encoding: str = "utf-8"
    draws: bool = False
    file_size: int | None = None
    root: Path | None = None
    stop_at: int | None = None
    action: Callable[[], None] = kill_itself
    is_full: bool = False
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

    def signal(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process, not to those that it started."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def finish(self, max_seconds: float = MAX_SECONDS) -> Outcome:
        """Wait for the end of the process, and end what it has started."""
        failure = ""
        while self.process.is_alive() and not failure:
            self.process.join(0.05)
            if time.monotonic() - self._begin > max_seconds:
                failure = "it did not end in time"
            if resident_bytes(self.process.pid) > MAX_BYTES:
                failure = f"it took more than {MAX_BYTES / 2**30} GiB of memory"
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
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
    max_seconds: float = MAX_SECONDS,
) -> Outcome:
    """Run a command or a function to its end; see `start`."""
    return start(words, folder, setting, function).finish(max_seconds)


@cache
def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faults.warm", "faults.running"])
    path = os.pathsep.join([str(SOURCE), str(TESTS)])
    variables = {"PYTHONPATH": path, "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"COLUMNS": "200", **variables}.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    return context


def resident_bytes(pid: int) -> int:
    """Memory of a process; 0 if it has ended or the system does not report it."""
    with suppress(OSError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


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
    os.chdir(os.fsencode(folder))
    os.environ.update(setting.variables or {})
    for stream, number, suffix, errors in (
        (sys.stdout, 1, ".out", "strict"),
        (sys.stderr, 2, ".err", "backslashreplace"),
    ):
        stream.flush()
        os.dup2(os.open(output.with_suffix(suffix), os.O_WRONLY | os.O_APPEND), number)
        # `sys` declares any stream of text; these have an encoding.
        stream.reconfigure(encoding=setting.encoding, errors=errors)  # type: ignore[union-attr]
    _limit(setting)
    _replace(setting)
    try:
        function(*words)
    finally:
        atexit._run_exitfuncs()


def _limit(setting: Setting) -> None:
    if setting.root is not None:
        count_operations(setting, setting.root)
    if setting.file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (setting.file_size, setting.file_size))


def _replace(setting: Setting) -> None:
    """Replace what takes long; see the description of this file."""
    fork = multiprocessing.get_context("fork")
    patch = pytest.MonkeyPatch()  # never undone: the process runs one command
    patch.setattr("nwavesdk.analysis.study.executors.multiprocessing.get_context", lambda *_: fork)
    if not setting.draws:
        patch.setattr("nwavesdk.train.report.page.render_png", lambda *_: PNG)


def count_operations(setting: Setting, root: Path) -> None:
    """Log the operations on files inside `root`, and run the action before one of them.

    Processes that are forked later count on from here.
    """
    inside = os.path.join(os.path.abspath(root), "")
    log = setting.log and os.open(setting.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        is_write = event == "open" and arguments[2] & WRITING
        if not (is_write or event in OPERATIONS) or isinstance(arguments[0], int):
            return
        path = os.path.abspath(os.fsdecode(arguments[0]))
        if not (path + os.sep).startswith(inside):
            return
        count += 1
        if log is not None:
            os.write(log, f"{event} {path}\n".encode(errors="replace"))
        if setting.is_full and setting.stop_at and count >= setting.stop_at and event in MAKING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if count == setting.stop_at and not setting.is_full:
            setting.action()

    sys.addaudithook(hook)


def call_nwave(*words: str) -> None:
    """The console script."""
    from nwavesdk.cli import main

    sys.argv = ["nwave", *words]
    main()


def execute(code: str, *words: str) -> None:
    """Run code as `python -c` does."""
    sys.argv = ["-c", *words]
    sys.path.insert(0, "")
    exec(code, vars(sys.modules["__main__"]))


def load_export(path: str) -> None:
    """Read a chip file and print what decides the spikes of its net."""
    from nwavesdk.deploy import load_export

    net = load_export(path)
    print(net, {name: value.double().sum().item() for name, value in net.state_dict().items()})


def call(name: str, *words: str) -> None:
    """Run `nwave`, or a function that has no command and also ends in success or in one line."""
    if name != "load_export":
        call_nwave(name, *words)
        return
    try:
        load_export(*words)
    except (ValueError, OSError) as error:
        print(f"nwave: {error}", file=sys.stderr)
        sys.exit(2)
