"""Every public function and class answers arguments of the wrong kind with one line of ours.

Names come from `__all__` and parameters from signatures, so new ones are covered by themselves.
"""

import importlib
import inspect
import linecache
import pkgutil
import traceback

import numpy as np
import pytest
import torch

import nwavesdk
from faults.mutations import VALUES
from nwavesdk.chip import load_profile
from nwavesdk.internal.model import FrozenModel
from nwavesdk.layers import IFLayer, LIFLayer, LIFSynapse, SpikingSequential

PACKAGES = ["surrogate", "layers", "metrics", "loss", "encoding", "init", "optim"]

HOSTILE = {
    "none": None,
    "true": True,
    "negative": -1,
    "zero": 0,
    "huge": 2**70,
    "nan": float("nan"),
    "large": 1e300,
    "text": "x",
    "empty text": "",
    "bytes": b"x",
    "list": [],
    "nested": [[1.0]],
    "dict": {},
    "object": object(),
    "function": len,
    "class": LIFLayer,
    "empty": torch.zeros(0),
    "sequence": torch.rand(2, 3, 4),
    "indices": torch.ones(3, dtype=torch.int64),
    "coo": torch.eye(3).to_sparse(),
    "meta": torch.zeros(3, device="meta"),
    "array": np.zeros(3),
    "complex": 1j,
    "module": torch.nn.Identity(),
}


def net():
    return SpikingSequential(LIFSynapse(4, 4), LIFLayer(4, 20e-3))


# Values of parameters without a default, by name; all other ones are None.
VALID = {
    "T": 5,
    "block": 2,
    "build": IFLayer,
    "m": 4,
    "n": 2,
    "share": 0.5,
    "activations": lambda: torch.rand(2, 5, 8),
    "bits": 5,
    "confusion": lambda: torch.ones(2, 2),
    "derivative": torch.relu,
    "dt": 1e-3,
    "features": lambda: (4,),
    "high": 1.0,
    "in_channels": 4,
    "inputs": lambda: [torch.rand(2, 5, 4)],
    "lengths": lambda: torch.tensor([5, 2]),
    "low": 0.0,
    "max_delay": 6,
    "max_steps": 5,
    "model": net,
    "multipliers": lambda: [1.0],
    "n_neurons": 4,
    "nb_inputs": 4,
    "nb_outputs": 4,
    "net": net,
    "num_features": 4,
    "num_classes": 2,
    "n_outputs": 2,
    "n_steps": 5,
    "offsets": lambda: [0.1],
    "out_channels": 4,
    "parameter": "slope",
    "predicted": lambda: torch.tensor([0, 1]),
    "prediction": lambda: torch.rand(2, 5, 4),
    "profile": lambda: load_profile("h1v1"),
    "rates": lambda: torch.rand(2, 4),
    "spikes": lambda: torch.ones(2, 8, 4),
    "spikes_list": lambda: [torch.rand(2, 5, 4)],
    "spk": lambda: torch.ones(2, 5, 4),
    "start": 5.0,
    "end": 10.0,
    "taps": 3,
    "target": lambda: torch.rand(2, 5, 4),
    "targets": lambda: torch.tensor([0, 1]),
    "tau": 20e-3,
    "taus": 20e-3,
    "text": "atan",
    "threshold": 0.1,
    "total_epochs": 3,
    "values": lambda: torch.rand(2, 4),
    "weight": lambda: torch.rand(4, 4),
    "x": lambda: torch.rand(2, 5, 4),
    "z": lambda: torch.rand(3),
}
# Records, named tuples and bases, which are built by the package and check nothing, and what takes
# its arguments from Python.
INTERNAL = {
    "Custom",
    "Edge",
    "Encoder",
    "Family",
    "Foreign",
    "NetEdges",
    "NeuronLayer",
    "PageError",
    "Prepared",
    "Record",
    "Recording",
}


def public_functions():
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(f"nwavesdk.{package}")
        for name in module.__all__:
            value = getattr(module, name)
            is_ours = callable(value) and value.__module__.startswith("nwavesdk.")
            if is_ours and name not in INTERNAL and not inspect.isabstract(value):
                found.setdefault(value, f"{package}.{name}")
    return {name: value for value, name in found.items()}


FUNCTIONS = public_functions()


def valid_value(name):
    """A value of a parameter; modules and tensors are made for each call."""
    value = VALID.get(name)
    return value() if inspect.isfunction(value) else value


def hostile_calls(function):
    """Yield the description of a call and its arguments, one of which is hostile."""
    parameters = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    needed = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind is not inspect.Parameter.VAR_POSITIONAL
    ]
    for parameter in parameters:
        for kind, value in HOSTILE.items():
            description = f"{parameter.name} = {kind}"
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                yield description, (value,), {}
            else:
                arguments = {name: valid_value(name) for name in needed}
                yield description, (), arguments | {parameter.name: value}


def problem_of(error):
    """What is wrong with an error, or None if it is a line that our code raises on purpose."""
    frame, number = list(traceback.walk_tb(error.__traceback__))[-1]
    file = frame.f_code.co_filename
    line = linecache.getline(file, number).strip()
    text = str(error)
    if not isinstance(error, (TypeError, ValueError, RuntimeError, FileNotFoundError)):
        return f"{type(error).__name__}: {text}"
    if "/nwavesdk/" not in file or not line.startswith("raise "):
        return f"raised by {file}:{number} `{line}`: {text[:200]}"
    if "\n" in text or len(text) > 1200:
        return f"not one short line: {text[:200]!r}"
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_wrong_arguments_end_in_one_line(name):
    function = FUNCTIONS[name]
    problems = []
    for description, positional, named in hostile_calls(function):
        try:
            function(*positional, **named)
        except Exception as error:
            problem = problem_of(error)
            if problem:
                problems.append(f"{name}({description}): {problem}")
    assert not problems, "\n".join(problems)


def models():
    """All models of the package, after all of its modules are imported."""
    for module in pkgutil.walk_packages(nwavesdk.__path__, "nwavesdk."):
        if ".gpu." not in module.name:
            importlib.import_module(module.name)
    found = [FrozenModel]
    for model in found:  # which grows
        found += model.__subclasses__()
    models = [*dict.fromkeys(found[1:])]  # a model with two bases is found twice
    return [model for model in models if model.__module__.startswith("nwavesdk.")]


OWN_LIST = []
OWN_LIST.append(OWN_LIST)
DEEP = []
for _ in range(10_000):
    DEEP = [DEEP]


def test_wrong_fields_of_a_model_end_in_one_line():
    swaps = [*HOSTILE.values(), *VALUES.values(), "9" * 5000, 10**5000, {1}, OWN_LIST, DEEP]
    texts = []
    checked = models()
    for model in checked:
        # A field that a base declares is tried with all values there, and with a few here.
        contents = [
            {name: swap}
            for number, name in enumerate(model.model_fields)
            for swap in (swaps if name in model.__annotations__ else swaps[number % 5 :: 5])
        ]
        for content in contents + swaps:
            try:
                model.of(content)
            except ValueError as error:
                texts.append(str(error))
    assert not [text for text in texts if not text.isprintable() or len(text) > 4000]
    assert len(checked) > 25


def test_the_sweep_covers_the_package():
    assert len(FUNCTIONS) > 60
    assert {"layers.LIFLayer", "surrogate.parse", "optim.SignAnnealing"} <= FUNCTIONS.keys()
