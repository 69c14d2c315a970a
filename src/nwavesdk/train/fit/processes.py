"""The processes of a data-parallel run: who starts them, and what ends them.

Design requirements:

- Lightning exchanges gradients. It would also start the processes; but where one of them ends, it
  kills the others before they can report it, so they are started here.
- A run whose process was lost ends with one line, and no process outlives the first one.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from unittest import mock

from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch.distributed import DistError

from nwavesdk.internal.processes import die_with_the_parent
from nwavesdk.train.fit.progress import print_line

__all__ = ["LOST_PROCESS", "is_first_process", "is_lost_process", "other_processes"]

LOST_PROCESS = (
    "another process of the run ended or does not answer (its own error, if it had time for one, "
    "is above): --resume continues the run after its last epoch."
)

# What Lightning knows by these, it does not start.
STARTED_BY = ("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS")

# An exchange on a CPU fails where a process is lost, one on a GPU may wait for ever.
SECONDS_TO_FAIL = 15.0
USER_ERROR = 2  # as of the command `nwave`


def is_first_process() -> bool:
    """Whether this process prints and writes; it started the others, or torchrun did."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def is_lost_process(error: BaseException) -> bool:
    """Whether an error has its reason in another process, which does not answer."""
    return isinstance(error, DistError) or "/gloo/" in str(error)


@contextlib.contextmanager
def other_processes(count: int) -> Iterator[None]:
    """Let the command run in further processes within a `with` block.

    In one of these processes, and where torchrun or a scheduler starts processes, it does nothing.

    Args:
        count: Number of processes on this machine, with this one.
    """
    if count == 1 or any(name in os.environ for name in STARTED_BY):
        yield
        return
    with mock.patch.dict(os.environ, _environment(count)):
        processes = [_start(rank) for rank in range(1, count)]
        is_over = threading.Event()
        watch = threading.Thread(target=_watch, args=(processes, is_over), daemon=True)
        watch.start()
        try:
            yield
            for process in processes:
                process.wait()
        finally:
            is_over.set()
            for process in processes:
                process.kill()
                process.wait()


def _environment(count: int) -> dict[str, str]:
    """What Lightning reads in the first process of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "NODE_RANK": "0",
        "LOCAL_RANK": "0",
    }


def _start(rank: int) -> subprocess.Popen[bytes]:
    """Start the command of this process once more; it ends with this process."""
    spec = sys.modules["__main__"].__spec__
    program = [os.path.abspath(sys.argv[0])] if spec is None else ["-m", spec.name]
    return subprocess.Popen(
        [sys.executable, *program, *sys.argv[1:]],
        env={**os.environ, "LOCAL_RANK": str(rank)},
        preexec_fn=die_with_the_parent,
    )


def _watch(processes: Sequence[subprocess.Popen[bytes]], is_over: threading.Event) -> None:
    """End this process if another one has failed, and no exchange with it has raised an error."""
    while not is_over.wait(1):
        if any(process.poll() for process in processes):
            if not is_over.wait(SECONDS_TO_FAIL):
                print_line(f"nwave: {LOST_PROCESS}")
                os._exit(USER_ERROR)
            return
