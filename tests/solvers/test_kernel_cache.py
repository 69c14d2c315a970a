"""Compiled kernels are found again by later processes, and what others may have written is not run.

Most tests compile one tiny function in this process, which takes a few milliseconds.
"""

import importlib.util
import marshal
import os
import pickle
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import pytest

from forked import run_code
from nwavesdk.internal.files import FileError, draft_of
from nwavesdk.solvers import kernel_cache
from nwavesdk.solvers.kernel_cache import (
    HEAD_BYTES,
    MAGIC,
    compile_native,
    kernel_folder,
    load_source,
)

STRANGER = 12345  # the number of another user

posix = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can give files to others"
)

PROGRAM = """
import gc, sys, warnings, torch
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.solvers.cpu.native import NativeFunction
from nwavesdk.surrogate import parse
warnings.simplefilter("error")
for text in sys.argv[1:]:
    layer = LIFLayer(8, 10e-3, spike_grad=parse(text))
    prepare_net(layer)
    x = torch.rand(2, 5, 8, requires_grad=True)
    layer(x)[0].sum().backward()
kernels = [k for k in gc.get_objects() if type(k) is NativeFunction and k.compiled is not None]
hits = sum(k.compiled.cache_hits for k in kernels)
print(len(kernels) - hits, hits)
"""


def run_program(cache: Path, *surrogates: str) -> tuple[int, int]:
    """Kernels that a new process compiled, and kernels that it found on disk."""
    outcome = run_code(PROGRAM, cache, *surrogates, NWAVESDK_CACHE=str(cache))
    compiled, loaded = map(int, outcome.stdout.split())
    return compiled, loaded


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the kernels of a LIF layer with the atan surrogate: steps and loops."""
    folder = tmp_path_factory.mktemp("cache")
    assert run_program(folder, "atan") == (4, 0)
    return folder


@pytest.fixture
def cache(filled_cache: Path, tmp_path: Path) -> Path:
    return shutil.copytree(filled_cache, tmp_path / "cache")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache of this process for one test; nothing has been warned of yet."""
    monkeypatch.setenv("NWAVESDK_CACHE", str(tmp_path / "home"))
    monkeypatch.setattr(kernel_cache, "_warned", set())
    kernel_folder.cache_clear()
    yield tmp_path / "home"
    monkeypatch.undo()
    kernel_folder.cache_clear()


def is_on_disk() -> bool:
    """Load or compile a tiny function, check its result, and report which of both it was."""
    module = load_source("tiny", "def triple(x):\n    return 3 * x\n")
    kernel = compile_native(module.triple, "int64(int64)")
    assert kernel.ctypes(5) == 15
    return bool(kernel.cache_hits)


def only_entry(home: Path) -> Path:
    (path,) = (home / "compiled").iterdir()
    return path


class Trap:
    """A pickle that creates a folder when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def set_trap(path: Path, marker: Path) -> None:
    """Replace an entry by one with a right checksum that runs code."""
    payload = pickle.dumps(Trap(marker))
    path.write_bytes(MAGIC + kernel_cache._checksum(path, payload) + payload)


# Later processes


def test_a_second_process_compiles_a_kernel_for_another_surrogate_and_none_for_other_slopes(
    cache: Path,
) -> None:
    assert run_program(cache, "atan(7)", "atan(0.5)", "fast_sigmoid") == (1, 4)


def test_the_folder_is_private_and_the_only_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    before = os.umask(0)
    try:
        assert [is_on_disk(), is_on_disk()] == [False, True]
    finally:
        os.umask(before)
    assert list(tmp_path.iterdir()) == [home]
    if os.name == "posix":
        modes = [path.stat().st_mode & 0o777 for path in (home, home / "compiled")]
        assert [*modes, only_entry(home).stat().st_mode & 0o777] == [0o700, 0o700, 0o600]


def test_drafts_of_killed_writes_are_removed(home: Path) -> None:
    folder = home / "compiled"
    folder.mkdir(parents=True, mode=0o700)
    for age in (4000, 60):
        draft = draft_of(folder / "name.kernel")
        draft.write_bytes(b"")
        os.utime(draft, (time.time() - age,) * 2)
    assert kernel_folder() == folder
    assert list(folder.iterdir()) == [draft]


def test_a_traceback_and_a_debugger_have_the_source() -> None:
    import inspect

    module = load_source("lines", "def first():\n    pass\n\n\ndef second():\n    return 1\n")
    assert inspect.getsource(module.second) == "def second():\n    return 1\n"


# Damage


def test_every_damaged_bit_is_found(filled_cache: Path, tmp_path: Path) -> None:
    entries = list((filled_cache / "compiled").iterdir())
    assert len(entries) == 5  # steps and loops, forward and backward; the comparison of parameters
    for entry in entries:
        content = entry.read_bytes()
        size = len(content)
        copy = tmp_path / entry.name
        copy.touch(0o600)
        step = size // 80
        for place in [*range(HEAD_BYTES), *range(HEAD_BYTES, size, step)]:
            damaged = bytearray(content)
            damaged[place] ^= 1 << place % 8
            copy.write_bytes(damaged)
            with pytest.raises(FileError, match="has a wrong checksum"):
                kernel_cache._read_entry(copy)
        for end in [*range(HEAD_BYTES + 1), *range(HEAD_BYTES, size, step), size - 1]:
            copy.write_bytes(content[:end])
            with pytest.raises(FileError, match="has a wrong checksum"):
                kernel_cache._read_entry(copy)
        copy.write_bytes(content)
        assert kernel_cache._read_entry(copy) == content[HEAD_BYTES:]
        renamed = copy.rename(tmp_path / "renamed")
        with pytest.raises(FileError, match="has a wrong checksum"):
            kernel_cache._read_entry(renamed)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-99] ^= 4
    path.write_bytes(content)


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "file").touch()


def put_a_link(path: Path) -> None:
    target = path.rename(path.parents[1] / "target")
    path.symlink_to(target)


def store_something_else(path: Path) -> None:
    payload = pickle.dumps([1, 2])
    path.write_bytes(MAGIC + kernel_cache._checksum(path, payload) + payload)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_bit, "has a wrong checksum"),
        (lambda path: path.write_bytes(b""), "has a wrong checksum"),
        (lambda path: os.truncate(path, 2**40), "is too large"),
        (store_something_else, "TypeError"),
    ],
)
def test_a_damaged_entry_is_compiled_again_with_one_warning(
    home: Path, damage: Callable[[Path], None], reason: str
) -> None:
    is_on_disk()
    path = only_entry(home)
    damage(path)
    with pytest.warns(match=f"^the kernel cache {home}.* was damaged .*{reason}") as caught:
        assert not is_on_disk()
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert is_on_disk()


@posix
@pytest.mark.parametrize("replace", [put_a_folder, put_a_link])
def test_an_entry_that_is_not_a_file_is_left_alone(
    home: Path, replace: Callable[[Path], None]
) -> None:
    is_on_disk()
    path = only_entry(home)
    replace(path)
    with pytest.warns(match="is not a regular file|cannot store") as caught:
        assert not is_on_disk()
    assert len(caught) == 2
    assert f"({path.name} is not a regular file)" in str(caught[0].message)
    assert path.is_dir() or path.is_symlink()


# Other users


@posix
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.chmod(0o602), r"can be written by others \(mode 0602\)"),
        pytest.param(
            lambda path: os.chown(path, STRANGER, -1), "belongs to the user 12345", marks=root
        ),
    ],
)
def test_an_entry_of_others_is_not_loaded(
    home: Path, tmp_path: Path, change: Callable[[Path], None], reason: str
) -> None:
    is_on_disk()
    path = only_entry(home)
    set_trap(path, tmp_path / "marker")
    change(path)
    with pytest.warns(match=reason) as caught:
        assert not is_on_disk()
    assert len(caught) == 1
    assert not (tmp_path / "marker").exists()
    assert is_on_disk()
    # The trap itself works.
    set_trap(path, tmp_path / "marker")
    kernel_cache._warned.clear()
    with pytest.warns(match="was damaged"):
        is_on_disk()
    assert (tmp_path / "marker").exists()


@posix
def test_nothing_in_a_folder_that_others_can_write_is_run(home: Path, tmp_path: Path) -> None:
    is_on_disk()
    entry = only_entry(home)
    marker = tmp_path / "marker"
    set_trap(entry, marker)
    # What Python and numba themselves would read next to a source file.
    module = entry.name[: -len(".triple.0123456789abcdef0123.kernel")]
    code = compile(f"import os\nos.mkdir({str(marker)!r})", f"{module}.py", "exec")
    tag = sys.implementation.cache_tag
    bytecode = importlib.util.MAGIC_NUMBER + bytes([1]) + bytes(11) + marshal.dumps(code)
    for folder in (entry.parent, home / "kernels"):
        (folder / "__pycache__").mkdir(parents=True)
        (folder / f"{module}.py").write_text(f"import os\nos.mkdir({str(marker)!r})")
        (folder / "__pycache__" / f"{module}.{tag}.pyc").write_bytes(bytecode)
        for end in ("nbi", "1.nbc"):
            numba_file = folder / "__pycache__" / f"{module}.triple-1.py311.{end}"
            numba_file.write_bytes(pickle.dumps(Trap(marker)))
    entry.parent.chmod(0o777)
    kernel_folder.cache_clear()
    match = r"/compiled can be written by others \(mode 0777\): run `chmod go-w .*NWAVESDK_CACHE"
    with pytest.warns(match=match) as caught:
        assert not is_on_disk()
    assert len(caught) == 1
    assert kernel_folder() is None
    assert not marker.exists()


@root
def test_a_link_into_the_folder_of_another_user_is_not_followed(home: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    (foreign / "compiled").mkdir(parents=True)
    os.chown(foreign / "compiled", STRANGER, -1)
    home.symlink_to(foreign)
    with pytest.warns(match=f"{foreign}/compiled belongs to the user 12345"):
        assert not is_on_disk()
    assert not list((foreign / "compiled").iterdir())


# Folders that cannot be used


def test_kernels_stay_in_memory_if_the_folder_cannot_be_made(home: Path) -> None:
    home.write_text("where a folder should be")
    match = r"home.compiled cannot be created \(.*\): set NWAVESDK_CACHE to a folder"
    with pytest.warns(match=match) as caught:
        assert [is_on_disk(), is_on_disk()] == [False, False]
    assert len(caught) == 1
    assert kernel_folder() is None


@posix
def test_the_entries_that_were_not_used_for_the_longest_time_are_removed(tmp_path: Path) -> None:
    for age, name in enumerate("abcd"):
        path = tmp_path / f"{name}.kernel"
        path.write_bytes(bytes(1000))
        os.utime(path, (1000 - age, 1000 - age))
    (tmp_path / "other").write_bytes(bytes(1000))
    kernel_cache._remove_unused(tmp_path, 2500)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.kernel", "b.kernel", "other"]


def test_reading_an_entry_is_a_use(cache: Path) -> None:
    path = next((cache / "compiled").glob("*.kernel"))
    os.utime(path, (1000, 1000))
    assert kernel_cache._read_entry(path) is not None
    assert path.stat().st_mtime > 1000


def test_a_full_disk_gives_one_warning(home: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.warns(match=r"cannot store .* \(File too large\).* free the disk") as caught:
            assert [is_on_disk(), is_on_disk()] == [False, False]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(caught) == 1
    assert not list((home / "compiled").iterdir())


@posix
def test_a_cache_that_can_only_be_read_is_read(home: Path) -> None:
    is_on_disk()
    for folder in (home / "compiled", home):
        folder.chmod(0o500)
    kernel_folder.cache_clear()
    assert is_on_disk()
    for folder in (home, home / "compiled"):
        folder.chmod(0o700)
