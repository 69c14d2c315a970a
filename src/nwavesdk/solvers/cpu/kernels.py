"""Compiled CPU kernels: a source text, kept on disk under its hash, loaded when first used.

numba's own disk cache never hits for functions made in closures; a file of ours is a module like any other, so its
compiled code is found again by later processes. The folder is `NWAVESDK_CACHE`, or `~/.cache/nwavesdk`; where it cannot
be written, one warning is given and a temporary folder serves this process.


Keep large blocks of memory in the process, so that a fresh tensor costs no page faults.

glibc hands blocks of some MiB back to the system and asks for them anew, and then the faults cost more than our
kernels. The first serial call raises both of its thresholds once; `NWAVESDK_KEEP_MEMORY=0` leaves them as they are.
Other C libraries have no such call, and nothing happens there.
"""

import ctypes
import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
import warnings
from array import array
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numba

from nwavesdk.dynamics import Neuron
from nwavesdk.solvers.cpu.render import render_kernels
from nwavesdk.solvers.cpu.threads import run_native, thread_count
from nwavesdk.surrogate import Surrogate

__all__ = [
    "NativeKernel",
    "cache_folder",
    "keep_large_blocks",
    "kernels",
    "load_kernels",
    "load_text",
]

_lock = threading.Lock()


@cache
def cache_folder() -> Path:
    """The folder of the rendered kernels, writable."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "nwavesdk")
    home = os.environ.get("NWAVESDK_CACHE") or default
    folder = Path(home, "kernels")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix="nwavesdk-kernels-"))
        warnings.warn(
            f"the kernel cache {home} cannot be written ({error}): kernels are compiled anew in every process; "
            "set NWAVESDK_CACHE to a folder that can.",
            stacklevel=2,
        )
        return folder


def kernels(
    neuron: Neuron, dtype: str, surrogate: Surrogate | None = None, **options: Any
) -> SimpleNamespace:
    """The compiled kernels for `neuron` by their names in `loops`; see `render_kernels` for the options."""
    if surrogate is None or surrogate.pseudo_derivative is None:
        return _load(neuron, dtype, None, 0, tuple(sorted(options.items())))
    return _load(
        neuron, dtype, type(surrogate), len(surrogate.constants), tuple(sorted(options.items()))
    )


@cache
def _load(
    neuron: Neuron,
    dtype: str,
    surrogate: type[Surrogate] | None,
    parameters: int,
    options: tuple[tuple[str, Any], ...],
) -> SimpleNamespace:
    text = render_kernels(neuron, dtype, surrogate, parameters, **dict(options))
    module, path = load_text(neuron.name, numba.__version__, text)
    natives = {name: f for name, f in vars(module).items() if name.endswith("_native")}
    return SimpleNamespace(
        **{name.removesuffix("_native"): NativeKernel(f, path) for name, f in natives.items()}
    )


def load_kernels(name: str, text: str) -> ModuleType:
    """The module of that source text; those of its functions that release the GIL are its kernels.

    Args:
        name: tells its file in the cache apart from others, for people.
        text: the whole source; equal texts share what was compiled.
    """
    module, path = load_text(name, numba.__version__, text)
    for entry, function in list(vars(module).items()):
        if getattr(function, "targetoptions", {}).get("nogil"):
            setattr(module, entry, _Kernel(function, path))
    return module


def load_text(name: str, version: str, text: str) -> tuple[ModuleType, Path]:
    """`text` as a module, from a file of the cache that bears the hash of it and of its compiler's version."""
    digest = hashlib.sha256(f"{version}\n{text}".encode()).hexdigest()[:20]
    name = f"nwavesdk_{name}_{digest}"
    with _lock:
        path = cache_folder() / f"{name}.py"
        if not path.exists() or path.read_bytes() != text.encode():
            draft = path.with_suffix(f".{os.getpid()}.tmp")
            draft.write_bytes(text.encode())
            draft.replace(path)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module, path


class NativeKernel:
    """A compiled loop over jobs that threads run without Python: `kernel(jobs, arguments, serial=…)`.

    Its arguments stand in a block of 64-bit words: the number of the next piece, of jobs and of pieces; then a word for
    a whole number, address and shape for an array, and the address of float64 numbers for a tuple.
    """

    def __init__(self, function: Any, path: Path) -> None:
        self.function, self.path = function, path
        self.compiled: Any = None

    def __call__(self, jobs: int, arguments: Sequence[Any], *, serial: bool) -> None:
        """Run all jobs.

        Args:
            jobs: how many.
            arguments: contiguous tensors, whole numbers, and a tuple of real ones.
            serial: on this thread alone.
        """
        if self.compiled is None:
            with _lock:
                self.compiled = self.compiled or healed(self._compile, self.path)
        threads = 1 if serial else thread_count(jobs)
        words, numbers = [0, jobs, threads], array("d")
        for a in arguments:
            if isinstance(a, int):
                words.append(a)
            elif isinstance(a, tuple):
                numbers.extend(a)
                words.append(numbers.buffer_info()[0])
            else:
                words.append(a.data_ptr())
                words += a.shape
        block = array("q", words)
        run_native(self.compiled.address, block.buffer_info()[0], threads)

    def _compile(self) -> Any:
        return numba.cfunc("void(int64)", cache=True, error_model="numpy")(self.function)


def healed(build: Callable[[], Any], path: Path) -> Any:
    """What `build` gives; damaged files in the cache of the module at `path` are thrown away, and it builds anew."""
    try:
        return build()
    except Exception as error:
        files = list((path.parent / "__pycache__").glob(f"{path.stem}.*"))
        if not files or isinstance(error, numba.core.errors.NumbaError):
            raise
        warnings.warn(
            f"the kernel cache {path.parent} was damaged ({error!r}): compiled anew.", stacklevel=5
        )
        for file in files:
            file.unlink(missing_ok=True)
        return build()


class _Kernel:
    """A compiled function of Python's, for kernels whose arguments have many forms."""

    def __init__(self, function: Any, path: Path) -> None:
        self.function, self.path = function, path
        self.sound: set[tuple[type, ...]] = set()

    def __call__(self, *arguments: Any) -> None:
        kinds = tuple(map(type, arguments))
        if kinds not in self.sound:
            types = tuple(numba.typeof(a) for a in arguments)
            with _lock:
                healed(lambda: self.function.compile(types), self.path)
                self.sound.add(kinds)
        self.function(*arguments)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameter numbers of mallopt(3)


@cache
def keep_large_blocks() -> bool:
    """Raise the thresholds, once in this process; returns whether they were raised."""
    if os.environ.get("NWAVESDK_KEEP_MEMORY", "1") == "0":
        return False
    try:
        libc = ctypes.CDLL("libc.so.6")
        return bool(libc.mallopt(_MMAP_THRESHOLD, 1 << 30)) and bool(
            libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
        )
    except (OSError, AttributeError):
        return False
