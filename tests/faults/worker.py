"""Running commands: in a warm process that is replaced if it hangs, dies or grows, or in a new one.

with Worker() as worker:
    outcome = worker.run(["eval", "run"], folder)
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import nwavesdk

TESTS = Path(__file__).parent.parent
SOURCE = Path(nwavesdk.__file__).parent.parent

# Limits of one command. The machine of a test may be busy.
MOST_SECONDS = 60.0
MOST_BYTES = 4 * 2**30
# Size above which a worker is replaced between two commands [bytes].
MOST_IDLE_BYTES = 2 * 2**30


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


class Worker:
    """A warm process that runs commands one after the other; a context manager."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def run(
        self,
        words: Sequence[str],
        folder: Path,
        *,
        variables: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
        most_seconds: float = MOST_SECONDS,
    ) -> Outcome:
        """Run `nwave` with `words` in `folder`.

        Args:
            words: The command line without `nwave`.
            folder: The current folder of the command.
            variables: Further environment variables.
            encoding: Encoding of standard output and standard error.
            most_seconds: Time after which the process is killed.
        """
        process = self._warm_process()
        request = {
            "words": list(words),
            "folder": str(folder),
            "variables": dict(variables or {}),
            "encoding": encoding,
        }
        begin = time.monotonic()
        assert process.stdin is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        reply, failure = self._wait(process, begin + most_seconds)
        seconds = time.monotonic() - begin
        if reply:
            return Outcome(**json.loads(reply), seconds=seconds)
        self.stop()
        code = process.returncode
        return Outcome(code, "", "", seconds, failure or f"the process died with {code}")

    def stop(self) -> None:
        """End the process and everything that it started."""
        process, self._process = self._process, None
        if process is not None:
            signal_group(process, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def _warm_process(self) -> "subprocess.Popen[str]":
        if self._process is not None and resident_bytes(self._process.pid) > MOST_IDLE_BYTES:
            self.stop()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(TESTS / "faults" / "child.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment(),
                start_new_session=True,
            )
            assert self._process.stdout is not None
            if not self._process.stdout.readline():
                raise RuntimeError("the worker did not start; see its traceback above")
        return self._process

    def _wait(self, process: "subprocess.Popen[str]", deadline: float) -> tuple[str, str]:
        """The reply of a process, or why there is none."""
        assert process.stdout is not None
        while time.monotonic() < deadline:
            ready, _, _ = select.select([process.stdout], [], [], 0.05)
            if ready:
                return process.stdout.readline(), ""
            size = resident_bytes(process.pid)
            if size > MOST_BYTES:
                return "", f"it took {size / 2**30:.1f} GiB of memory"
        return "", "it did not end in time"


def run_process(
    words: Sequence[str],
    folder: Path,
    *,
    variables: Mapping[str, str] | None = None,
    most_seconds: float = 4 * MOST_SECONDS,
    **options: Any,
) -> Outcome:
    """Run `nwave` with `words` in a separate process; see `Worker.run`.

    Args:
        options: Further arguments of `subprocess.Popen`, such as `preexec_fn`.
    """
    begin = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = start_process(
            words, folder, variables=variables, stdout=out, stderr=err, **options
        )
        failure = ""
        try:
            process.wait(most_seconds)
        except subprocess.TimeoutExpired:
            failure = "it did not end in time"
            signal_group(process, signal.SIGKILL)
            process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "surrogateescape"))
    return Outcome(process.returncode, *texts, time.monotonic() - begin, failure)


def start_process(
    words: Sequence[str],
    folder: Path,
    *,
    variables: Mapping[str, str] | None = None,
    **options: Any,
) -> "subprocess.Popen[bytes]":
    """Start `nwave` with `words` as the leader of a new session."""
    # The same as the console script, which need not be installed.
    code = "import sys; sys.argv[0] = 'nwave'; from nwavesdk.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, *words],
        cwd=folder,
        env=environment() | dict(variables or {}),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    )


def environment() -> dict[str, str]:
    """The variables of a command: those of this process, with the tested sources."""
    path = os.pathsep.join([str(SOURCE), str(TESTS)])
    changed = {"PYTHONPATH": path, "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, "COLUMNS": "200", **changed}


def signal_group(process: "subprocess.Popen[Any]", number: int) -> None:
    """Send a signal to a process that leads a session, and to all of its children."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def resident_bytes(pid: int) -> int:
    """Memory of a process; 0 if it has ended or the system does not report it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
