"""Compiled CPU kernels: rendered once, kept on disk under the hash of their text, loaded when first used.

numba's own disk cache never hits for functions made in closures; a rendered file is a module like any other, so its
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

__all__ = ["cache_folder", "kernels"]

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
        return _load(neuron, dtype, None, 0, tuple(sorted(options.items())))
    return _load(neuron, dtype, type(surrogate), len(surrogate.constants), tuple(sorted(options.items())))


@cache
def _load(
    neuron: Neuron, dtype: str, surrogate: type[Surrogate] | None, parameters: int, options: tuple[tuple[str, Any], ...]
) -> ModuleType:
    text = render_kernels(neuron, dtype, surrogate, parameters, **dict(options))
    digest = hashlib.sha256(f"{numba.__version__}\n{text}".encode()).hexdigest()[:20]
    name = f"nwavesdk_{neuron.name}_{digest}"
    with _lock:
        path = cache_folder() / f"{name}.py"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            draft = path.with_suffix(f".{os.getpid()}.tmp")
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return module
