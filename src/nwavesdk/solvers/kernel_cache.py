"""The disk cache of compiled kernels: one file per kernel, which later processes load.

This is the only file that reads or writes the cache. The CPU kernels, the sparse products and the
Triton kernels all load their source text through it.

Design requirements:

- A text is compiled from memory and never read from disk, neither as source nor as bytecode.
  Tracebacks, debuggers and Triton find it in `linecache`.
- An entry is machine code in a pickle, which runs code when it is loaded. So only a folder that
  nobody else can write is read, and only files in it that belong to the user.
- The checksum of an entry covers its name and its content and is compared before anything is
  unpickled. A damaged entry is compiled again.
- An entry is complete or absent. Its name has the text, the types, the processor and the versions
  of the compiler in it, so processes that write the same entry write the same code.
- A cache that cannot be used costs time and gives one warning; results do not change.
- Above 256 MiB, the entries that were not used for the longest time are removed.

numba's own disk cache does not meet them: it unpickles any file, it writes an index that two
processes can write over each other, and `NUMBA_CACHE_DIR` moves it. Only its interface is used.

Threat model. Trusted are the user's own account and root: code that runs as one of them can change
this package as well. Not trusted are all other users of the machine, who may own or write the
folder that was named, a folder above it, or files in it; such a folder is refused, and such files
are not loaded. Damage by disks and by killed processes is detected. The checksum is no signature:
an entry that the user copied from elsewhere into the cache is run. Access lists (ACLs) count only
as far as the permissions of the group show them. Triton and `torch.compile` have their own caches,
which run all that they find: see `SECURITY.md`.

The folder is `compiled` in `NWAVESDK_CACHE`, or in `~/.cache/nwavesdk`.
"""

import linecache
import os
import pickle
import re
import stat
import sys
import threading
import warnings
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import torch
from numba.core.caching import NullCache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature

from nwavesdk.internal.files import (
    FileError,
    make_private_folder,
    printable,
    read_bytes,
    remove_drafts,
    write_atomically,
)
from nwavesdk.internal.owners import check_private, check_writers

__all__ = [
    "COMPILE_LOCK",
    "KernelCache",
    "PythonKernel",
    "compile_native",
    "kernel_folder",
    "load_python_kernels",
    "load_source",
    "package_kernels",
]

COMPILE_LOCK = threading.Lock()  # one thread at a time loads a text or compiles

# Layout of an entry: MAGIC, the SHA-256 of the file's name and the payload, and the payload.
MAGIC = b"nwave kernel 1\n"
HEAD_BYTES = len(MAGIC) + sha256().digest_size
MAX_ENTRY_BYTES = 64 * 2**20  # ours have up to 200 kilobytes

MAX_CACHE_BYTES = 256 * 2**20

# Age from which a draft belongs to a process that was killed [s].
STALE_SECONDS = 3600

_OWN_FOLDER = "set NWAVESDK_CACHE to a folder of your own"


# Source texts


def load_source(name: str, text: str) -> ModuleType:
    """Run `text` as a module.

    Args:
        name: Start of the module's name, for people who read a traceback.
        text: The source text.

    Returns:
        The module. Its name has the hash of the text in it.
    """
    # Users name neurons as they like; names of files are short, and assemblers read ASCII only.
    label = re.sub("[^A-Za-z0-9_]", "_", name)[:40]
    name = f"nwavesdk_{label}_{sha256(text.encode()).hexdigest()[:20]}"

    # Names in <> are never looked up on disk. Without a time, linecache keeps the lines.
    file = f"<{name}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file

    module = ModuleType(name)
    with COMPILE_LOCK:
        sys.modules[name] = module
        exec(compile(text, file, "exec", dont_inherit=True), vars(module))
    return module


def load_python_kernels(name: str, text: str) -> ModuleType:
    """Run a numba source text whose kernels are called from Python.

    Args:
        name: Start of the module's name.
        text: The whole source. Equal texts share their compiled code.

    Returns:
        The module. Its functions that release the GIL are its kernels.
    """
    module = load_source(name, text)
    for entry, function in list(vars(module).items()):
        if getattr(function, "targetoptions", {}).get("nogil"):
            setattr(module, entry, PythonKernel(function))
    return module


@cache
def package_kernels(package: str, name: str, dtype: torch.dtype) -> Any:
    """The kernels in the module `name` of a package, compiled for a dtype when they are called."""
    text = files(package).joinpath(f"{name}.py").read_text("utf-8")
    return load_python_kernels(f"{name}_{str(dtype).removeprefix('torch.')}", text)


class PythonKernel:
    """A compiled function that Python calls, for kernels whose arguments have several types."""

    def __init__(self, function: Any) -> None:
        self.function = function
        function._cache = KernelCache(function.py_func)
        self.compiled: set[tuple[type, ...]] = set()  # argument types known to be compiled

    def __call__(self, *arguments: Any) -> None:
        kinds = tuple(map(type, arguments))
        if kinds not in self.compiled:
            types = tuple(numba.typeof(a) for a in arguments)
            with COMPILE_LOCK:
                self.function.compile(types)
                self.compiled.add(kinds)
        self.function(*arguments)


def compile_native(function: Any, signature: str) -> Any:
    """Compile a function of a text to a C function, which has an `address`, under the lock."""
    kernel: Any = CFunc(function, normalize_signature(signature), {}, {"error_model": "numpy"})
    kernel._cache = KernelCache(function)
    kernel.compile()
    return kernel


# Entries


class KernelCache(NullCache):
    """The cache of one function, as numba calls it.

    Args:
        function: A function of a text that `load_source` has run.
    """

    def __init__(self, function: Any) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"

    def load_overload(self, types: object, target: Any) -> Any:
        """The compiled function for these argument types, or None without an intact entry."""
        target.refresh()
        path = self._path(types, target.codegen())
        try:
            payload = None if path is None else _read_entry(path)
            if payload is None:
                return None
            return CompileResult._rebuild(target, *pickle.loads(payload))
        except Exception as error:  # an intact pickle may still be one that cannot be rebuilt
            assert path is not None
            fault = error.fault if isinstance(error, FileError) else repr(error)
            _warn_once(
                "damage",
                f"the kernel cache {printable(path.parent)} was damaged "
                f"({path.name} {printable(fault)}): compiled again.",
            )
            return None

    def save_overload(self, types: object, result: Any) -> None:
        """Store a compiled function; a failure gives one warning."""
        path = self._path(types, result.codegen)
        if path is None or result.library.has_dynamic_globals:
            return

        payload = dumps(result._reduce())
        content = MAGIC + _checksum(path, payload) + payload

        try:
            write_atomically(path, content, mode=0o600)
            _remove_unused(path.parent, MAX_CACHE_BYTES)
        except (OSError, FileError) as error:
            reason = error.fault if isinstance(error, FileError) else error.strerror
            _warn_once(
                "write",
                f"the kernel cache cannot store {printable(path)} ({reason}): kernels stay in "
                "memory, and every process compiles them again; free the disk or repair the "
                "folder, or set NWAVESDK_CACHE to another folder.",
            )

    def _path(self, types: object, codegen: Any) -> Path | None:
        folder = kernel_folder()
        if folder is None:
            return None

        compiler = numba.__version__, sys.implementation.cache_tag
        key = f"{types}\n{codegen.magic_tuple()}\n{compiler}"
        return folder / f"{self.name}.{sha256(key.encode()).hexdigest()[:20]}.kernel"


def _read_entry(path: Path) -> bytes | None:
    """The payload of an entry; None if there is none.

    Raises:
        FileError: If it is damaged, or others may have written it.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise FileError(path, "is not a regular file")
    check_writers(path, _OWN_FOLDER)

    content = read_bytes(path, MAX_ENTRY_BYTES)
    payload = content[HEAD_BYTES:]
    if content[:HEAD_BYTES] != MAGIC + _checksum(path, payload):
        raise FileError(path, "has a wrong checksum")

    with suppress(OSError):
        os.utime(path)  # the time of the last use, for `_remove_unused`
    return payload


def _remove_unused(folder: Path, max_bytes: int) -> None:
    """Remove the entries that were not used for the longest time, down to `max_bytes` in total."""
    entries = []
    for path in folder.glob("*.kernel"):
        with suppress(OSError):  # another process may have removed it
            status = path.lstat()
            entries.append((status.st_mtime, status.st_size, path))

    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= max_bytes:
            return
        with suppress(OSError):
            path.unlink()
        total -= size


def _checksum(path: Path, payload: bytes) -> bytes:
    # With the name, so that an entry under another name is not taken for that one.
    return sha256(path.name.encode() + b"\n" + payload).digest()


# The folder


@cache
def kernel_folder() -> Path | None:
    """The folder of the compiled kernels, which nobody else can write.

    If it cannot be used, one warning is given, and kernels stay in memory.

    Returns:
        The folder, without links in its path; None if it cannot be used.
    """
    try:
        folder = _named_folder()
        _create_private(folder)
        check_private(folder, _OWN_FOLDER)
    except (FileError, OSError) as error:
        _warn_once("folder", f"the kernel cache is not used, every process compiles again: {error}")
        return None

    with suppress(OSError):
        remove_drafts(folder, older_than=STALE_SECONDS)
    return folder


def _named_folder() -> Path:
    home = os.environ.get("NWAVESDK_CACHE")
    if not home:
        try:
            caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        except RuntimeError:
            raise FileError("the home folder", "is not known", _OWN_FOLDER) from None
        home = os.path.join(caches, "nwavesdk")
    # From here on the path has no links, so nobody can make it lead elsewhere after the check.
    return Path(os.path.realpath(home), "compiled")


def _create_private(folder: Path) -> None:
    try:
        make_private_folder(folder)
    except OSError as error:
        fault = f"cannot be created ({error.strerror})"
        raise FileError(folder, fault, "set NWAVESDK_CACHE to a folder that is writable") from None


_warned: set[str] = set()


def _warn_once(kind: str, text: str) -> None:
    """Give the first warning of a kind in this process."""
    if kind not in _warned:
        _warned.add(kind)
        warnings.warn(text, stacklevel=2)
