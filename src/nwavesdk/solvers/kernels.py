"""Compiled CPU kernels: a source text, kept on disk under its hash, loaded when first used.

numba's own disk cache never hits for functions made in closures; a file of ours is a module like any other, so its
compiled code is found again by later processes. The folder is `NWAVESDK_CACHE`, or `~/.cache/nwavesdk`; where it cannot
be written, one warning is given and a temporary folder serves this process.
"""

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba

from nwavesdk.dynamics import Neuron
from nwavesdk.solvers.render import render_kernels
from nwavesdk.surrogate import Surrogate

__all__ = ["cache_folder", "kernels", "load_kernels"]

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


def kernels(neuron: Neuron, dtype: str, surrogate: Surrogate | None = None, **options: Any) -> ModuleType:
    """The module of compiled kernels for `neuron`; see `render_kernels` for the options."""
    if surrogate is None or surrogate.pseudo_derivative is None:
        return _rendered(neuron, dtype, None, 0, tuple(sorted(options.items())))
    return _rendered(neuron, dtype, type(surrogate), len(surrogate.constants), tuple(sorted(options.items())))


@cache
def _rendered(
    neuron: Neuron, dtype: str, surrogate: type[Surrogate] | None, parameters: int, options: tuple[tuple[str, Any], ...]
) -> ModuleType:
    return load_kernels(neuron.name, render_kernels(neuron, dtype, surrogate, parameters, **dict(options)))


def load_kernels(name: str, text: str) -> ModuleType:
    """The module of that source text; those of its functions that release the GIL are its kernels.

    Args:
        name: tells its file in the cache apart from others, for people.
        text: the whole source; equal texts share what was compiled.
    """
    digest = hashlib.sha256(f"{numba.__version__}\n{text}".encode()).hexdigest()[:20]
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
    for entry, function in list(vars(module).items()):
        if getattr(function, "targetoptions", {}).get("nogil"):
            setattr(module, entry, _Kernel(function, path))
    return module


class _Kernel:
    """A compiled function that throws damaged files of its cache away and compiles anew."""

    def __init__(self, function: Any, path: Path) -> None:
        self.function, self.path = function, path
        self.sound: set[tuple[type, ...]] = set()

    def __call__(self, *arguments: Any) -> None:
        kinds = tuple(map(type, arguments))
        if kinds not in self.sound:
            with _lock:
                self._make_sound(tuple(numba.typeof(a) for a in arguments))
                self.sound.add(kinds)
        self.function(*arguments)

    def _make_sound(self, types: tuple[Any, ...]) -> None:
        """Load or compile for arguments of these types; a damaged file raises whatever pickle stumbles over."""
        try:
            self.function.compile(types)
        except Exception as error:
            files = list((self.path.parent / "__pycache__").glob(f"{self.path.stem}.*"))
            if not files or isinstance(error, numba.core.errors.NumbaError):
                raise
            warnings.warn(f"the kernel cache {self.path.parent} was damaged ({error!r}): compiled anew.", stacklevel=5)
            for file in files:
                file.unlink(missing_ok=True)
            self.function.compile(types)
