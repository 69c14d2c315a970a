"""The process of a worker: it imports everything once and runs commands until its input ends.

A request is a line of JSON on standard input, and so is its answer on standard output. A command
runs through the entry point of the console script, with its own folder, variables and output.
`FUNCTIONS` are further commands, for what has no command of `nwave`; like it, they end in success
or in a line that starts with `nwave:`.
"""

import gc
import importlib
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

# What commands import when they run.
MODULES = (
    "matplotlib.pyplot",
    "lightning",
    "safetensors.torch",
    "scipy.signal",
    "soundfile",
    "nwavesdk.analysis.slopes.report",
    "nwavesdk.analysis.compare.report",
    "nwavesdk.cli",
    "nwavesdk.data",
    "nwavesdk.deploy",
    "nwavesdk.train",
)


def load_export(path: str) -> None:
    """Read a chip file and print what decides the spikes of its net."""
    from nwavesdk.deploy import load_export

    net = load_export(path)
    print(net, {name: value.double().sum().item() for name, value in net.state_dict().items()})


def build_model(module: str, name: str, content: str) -> None:
    """Build a model or a dataclass of ours from keyword arguments, given as JSON."""
    from faults.models import decode

    kind = getattr(importlib.import_module(module), name)
    value = decode(json.loads(content))
    if hasattr(kind, "model_fields"):
        kind.of(value)
    elif hasattr(kind, "of"):
        kind.of(value, name)
    else:
        kind(**value)


FUNCTIONS: dict[str, Callable[..., None]] = {
    "load_export": load_export,
    "build_model": build_model,
}


def run(words: list[str]) -> int:
    """Run one command; return its exit code."""
    try:
        if words[0] in FUNCTIONS:
            FUNCTIONS[words[0]](*words[1:])
            return 0
        from nwavesdk.cli import main

        sys.argv = ["nwave", *words]
        main()
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (ValueError, TypeError, OSError) as error:
        if words[0] not in FUNCTIONS:
            traceback.print_exc()
            return 1
        print(f"nwave: {error}", file=sys.stderr)
        return 2
    except BaseException:
        traceback.print_exc()
        return 1


def answer(request: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Run the command of a request with captured output."""
    os.environ.clear()
    os.environ.update(environment | request["variables"])
    os.chdir(request["folder"])
    for stream, errors in ((sys.stdout, "strict"), (sys.stderr, "backslashreplace")):
        stream.reconfigure(encoding=request["encoding"], errors=errors)  # type: ignore[union-attr]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        # Leaving the context makes Python show each warning again.
        with warnings.catch_warnings():
            code = run(request["words"])
        code = _flush(sys.stdout, code)
        _flush(sys.stderr, code)
        texts = [_text(file) for file in (out, err)]
    _restore()
    return {"code": code, "stdout": texts[0], "stderr": texts[1]}


def _flush(stream: TextIO, code: int) -> int:
    try:
        stream.flush()
    except (OSError, ValueError):
        return code or 120  # as Python does when it ends
    return code


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode("utf-8", "surrogateescape"))


def _restore() -> None:
    """Forget what a command may leave behind in a process."""
    import torch
    from matplotlib import pyplot

    from nwavesdk.solvers.sparse import crossover

    torch.set_num_threads(THREADS)
    torch.set_default_dtype(torch.float32)
    crossover.use_table(None)
    pyplot.close("all")
    gc.collect()


def _shorten_commands() -> None:
    """Replace what takes a minute or many processes; other tests run it as it is."""
    from nwavesdk.analysis import cells
    from nwavesdk.solvers.sparse import tuner
    from nwavesdk.solvers.sparse.crossover import shipped_table

    def finish_here(
        study: Any, chosen: Any, jobs: int, on_finished: Any, work: Any = cells.run_cell
    ) -> None:
        del jobs
        for cell in chosen:
            work(study.job(cell))
            on_finished(cell)

    cells.finish_on_processes = finish_here
    tuner.tune = lambda progress: progress(1.0) or shipped_table()


def main() -> None:
    """Import everything, then answer requests."""
    replies = os.fdopen(os.dup(1), "w")
    requests = os.fdopen(os.dup(0), "r")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    for module in MODULES:
        importlib.import_module(module)
    _shorten_commands()
    import torch

    torch.set_num_threads(THREADS)
    gc.freeze()  # what is imported is never collected, which makes a collection cheap
    environment = dict(os.environ)
    folder = Path.cwd()
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in requests:
        reply = answer(json.loads(line), environment)
        os.chdir(folder)
        print(json.dumps(reply), file=replies, flush=True)


THREADS = 1

if __name__ == "__main__":
    main()
