"""A step of a net as a file: a program of `torch.export`, or a graph of ONNX.

Both files describe themselves in a JSON text: the shape of the input, the outputs, and name, shape,
dtype and first value of each state.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_pre_hook

from nwavesdk.internal.files import one_line
from nwavesdk.internal.imports import require
from nwavesdk.interop.step import StepFunction, StepNet, step_samples
from nwavesdk.net.container import Container

__all__ = [
    "DESCRIPTION",
    "describe_step",
    "onnx_bytes",
    "read_onnx",
    "read_torch",
    "sample_bytes",
    "torch_bytes",
]

DESCRIPTION = "nwavesdk.json"
"""The name of the description: an extra file of a program, a metadata property of a graph."""

# The example of a batch has two recordings, because torch would treat a size of 1 as constant.
EXAMPLE_BATCH = 2
MAX_RECORDINGS = 2**20


def describe_step(step: StepNet, about: Mapping[str, Any]) -> dict[str, Any]:
    """The description of a step.

    Args:
        step: The step.
        about: Further entries for readers.

    Example:
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> step = StepNet(SpikingSequential(LILayer(2)), input_shape=(2,))
        >>> text = describe_step(step, {"classes": ["no", "yes"]})
        >>> text["classes"], text["input"], text["outputs"]
        (['no', 'yes'], [2], ['out'])
    """
    return {
        **about,
        "version": 2,
        "input": list(step.input_shape),
        "outputs": list(step.outputs),
        "states": [vars(state) for state in step.states],
    }


def torch_bytes(step: StepNet, about: Mapping[str, Any]) -> bytes:
    """The content of a file of `torch.export.save`, which torch alone can load.

    Args:
        step: The step.
        about: See `describe_step`.

    Raises:
        ValueError: If a module cannot be exported; the text names it.

    Example:
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> step = StepNet(SpikingSequential(LILayer(2)), input_shape=(2,))
        >>> torch_bytes(step, {})[:2]  # a zip file
        b'PK'
    """
    file = io.BytesIO()
    text = json.dumps(describe_step(step, about))
    torch.export.save(_exported(step), file, extra_files={DESCRIPTION: text})
    return file.getvalue()


def onnx_bytes(
    step: StepNet, about: Mapping[str, Any], *, static: bool = False, opset: int | None = None
) -> bytes:
    """The content of an ONNX file.

    Its inputs are `x` and the states. Its outputs are the outputs of the step and, for each state,
    `NAME.next`.

    Args:
        step: The step.
        about: See `describe_step`.
        static: Whether all shapes are constants, with one recording per call.
        opset: Version of the operators of ONNX; None for the version that torch takes.

    Raises:
        ModuleNotFoundError: If the extra `interop` is missing.
        ValueError: If a module cannot be exported, which the text names, or has no form with the
            opset.

    Example:
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> step = StepNet(SpikingSequential(LILayer(2)), input_shape=(2,))
        >>> b"nwavesdk.json" in onnx_bytes(step, {})  # doctest: +SKIP
        True
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "interop")

    names = [state.name for state in step.states]
    program = _exported(step, is_static=static)
    try:
        with _quiet():
            exported = torch.onnx.export(
                program,
                opset_version=opset,
                input_names=["x", *names],
                output_names=[*step.outputs, *(f"{name}.next" for name in names)],
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        # The text of torch's error is advice for its authors; its cause has the reason.
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise ValueError(
            f"step: ONNX has no form of this net ({one_line(cause)}): use --torch, or replace the "
            "module."
        ) from error

    assert exported is not None
    model = exported.model_proto
    # A conversion that fails leaves the graph as it was.
    got = next(entry.version for entry in model.opset_import if not entry.domain)
    if opset not in (None, got):
        raise ValueError(
            f"step: ONNX has no form of this net with opset {opset}, expected a version near {got}:"
            f" use --opset {got}, or leave --opset out."
        )

    if static:
        about = {**about, "batch": 1}
    entry = model.metadata_props.add()
    entry.key, entry.value = DESCRIPTION, json.dumps(describe_step(step, about))
    content: bytes = model.SerializeToString()
    return content


def read_torch(content: bytes) -> tuple[StepFunction, dict[str, Any]]:
    """The function and the description of a file of `torch_bytes`.

    Example:
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> step = StepNet(SpikingSequential(LILayer(2)), input_shape=(2,))
        >>> run, about = read_torch(torch_bytes(step, {}))
        >>> outputs, states = run(torch.ones(1, 2), step.first_states(batch=1))
        >>> outputs[0].tolist(), about["outputs"]
        ([[1.0, 1.0]], ['out'])
    """
    extra = {DESCRIPTION: ""}
    with _quiet():
        program = torch.export.load(io.BytesIO(content), extra_files=extra).module()

    about = json.loads(extra[DESCRIPTION])
    n_outputs = len(about["outputs"])

    def run(x: Tensor, states: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        results = program(x, states)
        return list(results[:n_outputs]), list(results[n_outputs:])

    return run, about


def read_onnx(content: bytes) -> tuple[StepFunction, dict[str, Any]]:
    """The function, run by onnxruntime, and the description of a file of `onnx_bytes`.

    Raises:
        ModuleNotFoundError: If the extra `interop` is missing.

    Example:
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> step = StepNet(SpikingSequential(LILayer(2)), input_shape=(2,))
        >>> run, about = read_onnx(onnx_bytes(step, {}))  # doctest: +SKIP
        >>> outputs, states = run(torch.ones(1, 2), step.first_states(1))  # doctest: +SKIP
        >>> outputs[0].tolist()  # doctest: +SKIP
        [[1.0, 1.0]]
    """
    runtime = require("onnxruntime", "interop")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # a step is too small for more threads
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    about = json.loads(session.get_modelmeta().custom_metadata_map[DESCRIPTION])
    names = ["x", *(state["name"] for state in about["states"])]
    n_outputs = len(about["outputs"])

    def run(x: Tensor, states: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        values = [tensor.numpy() for tensor in (x, *states)]
        results = session.run(None, dict(zip(names, values, strict=True)))
        tensors = [torch.from_numpy(result) for result in results]
        return tensors[:n_outputs], tensors[n_outputs:]

    return run, about


def sample_bytes(net: Container, step: StepNet) -> bytes:
    """The content of an NPZ file: inputs and outputs of a hundred steps; see `step_samples`.

    Args:
        net: The net.
        step: The step of the net.

    Example:
        >>> import numpy as np
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> net = SpikingSequential(LILayer(2))
        >>> content = np.load(io.BytesIO(sample_bytes(net, StepNet(net, input_shape=(2,)))))
        >>> [*content]
        ['x', '0.v', 'out', '0.v.next']
    """
    file = io.BytesIO()
    samples = step_samples(net, step)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in samples.items()}
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _exported(step: StepNet, *, is_static: bool = False) -> torch.export.ExportedProgram:
    """The step as a graph of torch's operators, for any number of recordings or for one."""
    batch = torch.export.Dim("batch", min=1, max=MAX_RECORDINGS)
    size = 1 if is_static else EXAMPLE_BATCH
    x = torch.zeros(size, *step.input_shape)
    sizes = [{0: batch} if state.has_batch else None for state in step.states]

    # The last module that was entered is the module that fails.
    names = {id(module): name for name, module in step.net.named_modules()}
    entered: list[torch.nn.Module] = []
    hook = register_module_forward_pre_hook(lambda module, _: entered.append(module))
    try:
        with torch.no_grad(), _quiet():
            program = torch.export.export(
                step,
                (x, step.first_states(size)),
                dynamic_shapes=None if is_static else ({0: batch}, sizes),
                strict=False,
            )
    except Exception as error:  # a module of the user can raise anything
        last = next((m for m in reversed(entered) if names.get(id(m))), step.net)
        raise _refusal(names.get(id(last), ""), last, one_line(error)) from error
    finally:
        hook.remove()

    _require_operators_of_torch(program, dict(step.net.named_modules()))
    return program


def _require_operators_of_torch(
    program: torch.export.ExportedProgram, modules: Mapping[str, torch.nn.Module]
) -> None:
    """Reject a graph with an operator that only this library has."""
    for node in program.graph.nodes:
        name = str(node.target)
        if node.op == "call_function" and name.startswith("nwavesdk"):
            path = [path for path, _ in node.meta.get("nn_module_stack", {}).values()][-1]
            path = path.removeprefix("net").removeprefix(".")
            raise _refusal(path, modules[path], f"it runs the operator {name}")


def _refusal(path: str, module: torch.nn.Module, reason: str) -> ValueError:
    where = f"module {path!r} ({type(module).__name__})" if path else type(module).__name__
    return ValueError(
        f"step: {where} cannot be exported ({reason}), expected modules of torch and of nwavesdk "
        "whose shapes do not depend on values: replace the module."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide advice to the authors of torch and of its exporters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        # The exporter copies objects of torch that are deprecated, such as LeafSpec.
        warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
        warnings.filterwarnings("ignore", message=".*The axis name: .* will not be used.*")
        try:
            yield
        finally:
            logging.disable(before)
