"""Cases of models: each pydantic model and each dataclass of ours that checks its fields.

They are found by importing the package. Valid content is taken from the files of the world, or from
`EXAMPLES`. A model for which neither has any makes the suite fail.
"""

import dataclasses
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from faults.mutations import FORMATS, VALUES
from faults.outcome import Case, forms_of
from faults.world import World

__all__ = ["EXAMPLES", "build_model", "find_models", "model_cases"]

_TABLE = {
    "rows": [8],
    "inputs": [32, 64],
    "outputs": [32],
    "forward": [[[0.1], [0.1]]],
    "forward_with_graph": [[[0.1], [0.1]]],
    "weight_gradient": [[[0.1], [0.1]]],
    "min_work": 10,
}
NAMESPACES = (
    *("model", "loss", "metric", "optim", "sched", "nwave", "trainer", "data", "early_stop"),
)
# Valid content of models that no file holds.
EXAMPLES: dict[str, dict[str, Any]] = {
    "SurrogateScheduleConfig": {"form": "linear", "parameter": "slope", "start": 1, "end": 2},
    "ChipConfig": {"profile": "h1v1"},
    "NetFileConfig": {"file": "/net.py", "function": "build", "sha256": "0" * 64},
    "ArithmeticConfig": {"threads": 1, "crossovers": _TABLE},
    "Facts": {
        "classes": ["a", "b"],
        "n_features": 3,
        "fingerprint": "0" * 64,
        "recordings": [3, 2, 1],
    },
    "CrossoverTable": _TABLE,
    "Tested": {
        "measures": {"test_accuracy": 0.5},
        "rates": [0.1],
        "dead": [0.0],
        "saturated": [0.0],
        "confusion": [[1, 0], [1, 0]],
    },
    "Dimension": {"low": 1, "high": 2},
    "TuneConfig": {"space": {"learning.rate": {"low": 0.01, "high": 0.1}}},
    "TrialConfig": {name: {} for name in NAMESPACES},
    "NWaveDataloaderConfig": {"data_parent": "words"},
}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


OWN_LIST: list[Any] = []
OWN_LIST.append(OWN_LIST)
# What a field is replaced by: values of JSON and of Python.
SWAPS: dict[str, Any] = {
    **VALUES,
    "digits": "9" * 5000,
    "bytes": b"\xff\x00",
    "set": {1},
    "complex": 1j,
    "tensor": torch.tensor(4),
    "array": np.ones(3),
    "object()": object(),
    "class": int,
    "path": Path("\x1b[31m"),
    "own-list": OWN_LIST,
    "deep-list": _nested(10**4),
    "huge-int": 10**5000,
}


def build_model(module: str, name: str, content: str, field: str = "", swap: str = "") -> None:
    """Build a model or a dataclass of ours.

    Args:
        module: Its module.
        name: Its name.
        content: Keyword arguments in JSON.
        field: The argument that is replaced, or "all".
        swap: The name of the value in `SWAPS` that replaces it.
    """
    kind = getattr(importlib.import_module(module), name)
    value = json.loads(content)
    if field == "all":
        value = SWAPS[swap]
    elif field:
        value[field] = SWAPS[swap]
    if hasattr(kind, "model_fields"):
        kind.of(value)
    elif hasattr(kind, "of"):
        kind.of(value, name)
    else:
        kind(**value)


@cache
def find_models() -> dict[str, type]:
    """All models, by module and name."""
    import nwavesdk
    from nwavesdk.internal.model import FrozenModel

    walked = pkgutil.walk_packages(nwavesdk.__path__, "nwavesdk.")
    modules = [importlib.import_module(each.name) for each in walked if ".gpu." not in each.name]
    return {
        f"{module.__name__}.{name}": kind
        for module in modules
        for name, kind in vars(module).items()
        if inspect.isclass(kind)
        and kind.__module__ == module.__name__
        and ((issubclass(kind, FrozenModel) and kind is not FrozenModel) or _checks_fields(kind))
    }


def _checks_fields(kind: type) -> bool:
    """Whether a dataclass validates its fields when it is made."""
    post_init = vars(kind).get("__post_init__")
    if not dataclasses.is_dataclass(kind) or post_init is None:
        return False
    if hasattr(kind, "__pydantic_validator__"):
        return True
    return "check_fields" in inspect.getsource(post_init)


def example(kind: type, contents: list[dict[str, Any]]) -> dict[str, Any]:
    """Valid content for a model.

    Args:
        kind: The model.
        contents: Objects among which it is searched.

    Raises:
        LookupError: If there is none.
    """
    names = fields(kind)
    for content in [EXAMPLES.get(kind.__name__, {}), *contents]:
        # A file may hold more than the model, such as a seal.
        valid = {name: content[name] for name in names if name in content}
        if any(is_required and name not in valid for name, is_required in names.items()):
            continue
        try:
            kind(**valid)
        except (TypeError, ValueError):
            continue
        return valid
    raise LookupError(
        f"no file of the world has valid content for {kind.__name__}: "
        "add some to EXAMPLES in tests/faults/models.py."
    )


def stored_objects(world: World) -> list[dict[str, Any]]:
    """All objects in the JSON files and in the headers of the world, the nested ones too."""
    files = [*sorted(world.path.glob("*/*.json")), *sorted(world.path.glob("*.safetensors"))]
    contents: list[Any] = [FORMATS[file.suffix][0](file.read_bytes()) for file in files]
    objects = []
    while contents:
        value = contents.pop(0)
        if isinstance(value, dict):
            objects.append(value)
            contents += value.values()
        elif isinstance(value, list):
            contents += value
    return objects


def fields(kind: Any) -> dict[str, bool]:
    """Names of the fields, and whether each is required."""
    if hasattr(kind, "model_fields"):
        return {name: info.is_required() for name, info in kind.model_fields.items()}
    missing = dataclasses.MISSING
    return {
        each.name: each.default is missing and each.default_factory is missing
        for each in dataclasses.fields(kind)
        if each.init
    }


def model_cases(world: World) -> Iterator[Case]:
    """Each field of each model with another value, missing, and one field too many."""
    contents = stored_objects(world)
    for path, kind in find_models().items():
        module, name = path.rsplit(".", 1)
        valid = example(kind, contents)
        words = ("build_model", module, name, json.dumps(valid))
        extra = (*words[:3], json.dumps({**valid, "extra": 1}))
        yield Case(f"models/{name}/valid", words, _nothing, must_succeed=True)
        yield Case(f"models/{name}/extra", extra, _nothing, ("extra",), must_fail=True)
        for field, is_required in fields(kind).items():
            if is_required:
                rest = json.dumps({key: valid[key] for key in valid if key != field})
                label = f"models/{name}/{field}:missing"
                yield Case(label, (*words[:3], rest), _nothing, (field,), must_fail=True)
            for swap, value in SWAPS.items():
                forms = forms_of(value) if isinstance(value, str) else ()
                label = f"models/{name}/{field}:{swap}"
                yield Case(label, (*words, field, swap), _nothing, (field,), forms)
        for swap in SWAPS if hasattr(kind, "model_fields") else ():
            yield Case(f"models/{name}/all:{swap}", (*words, "all", swap), _nothing)


def _nothing(folder: Path) -> None:
    """Leave the folder empty."""
