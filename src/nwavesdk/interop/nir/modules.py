"""Modules of imported graphs: `Scale`, `Delay`, and `SpikingGraph`, a container of any graph.

`module_of` makes the module of a node without neurons, and `shaped` computes the shapes of its
steps with this module.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.internal.files import one_line
from nwavesdk.interop.nir.node import AXES, Array, NirNode, Shape
from nwavesdk.layers import LIFSynapse
from nwavesdk.net.calls import Outputs
from nwavesdk.net.container import Container, Pass, run_module
from nwavesdk.net.structure import Memory, run_steps

__all__ = ["Delay", "Scale", "SpikingGraph", "module_of", "shaped"]

# Nodes whose output may have another shape than their input; all others act on each element.
RESHAPING = {"Affine", "Flatten", "Linear", *AXES}


class Scale(nn.Module):
    """Multiplies each element by a factor that is learned: the node Scale.

    Args:
        scale: The factors, of the shape of a step.

    Shape:
        `x` [..., *scale.shape] -> the same.

    Example:
        >>> Scale(torch.tensor([1.0, 2.0]))(torch.ones(3, 2))[0].tolist()
        [1.0, 2.0]
    """

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """`x * scale`."""
        return x * self.scale

    def extra_repr(self) -> str:
        return f"{list(self.scale.shape)}"


class Delay(Memory):
    """Passes on each element after its own number of steps: the node Delay.

    The state is the last inputs, as many as the longest delay has steps.

    Args:
        steps: Delays [steps], int64 from 0 on, of the shape of a step.

    Shape:
        `x` [B, T, *steps.shape] is a sequence, [B, *steps.shape] one step -> the same.

    Raises:
        ValueError: If the input has another shape.
        RuntimeError: If `prepare_net` is missing, or the batch size changed without it.

    Example:
        >>> from nwavesdk.layers import prepare_net
        >>> delay = Delay(torch.tensor([0, 2]))
        >>> prepare_net(delay)
        >>> delay(torch.tensor([[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]])).tolist()
        [[[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]]
    """

    steps: Tensor

    def __init__(self, steps: Tensor) -> None:
        super().__init__()
        self.register_buffer("steps", steps.detach().clone().long())
        self.longest = int(steps.max()) if steps.numel() else 0

    def forward(self, x: Tensor) -> Tensor:
        """The inputs of earlier steps; see the class."""
        axes = self.steps.ndim
        is_sequence = x.ndim == axes + 2
        if not (is_sequence or x.ndim == axes + 1) or x.shape[x.ndim - axes :] != self.steps.shape:
            raise ValueError(
                "Delay takes [B, T, *features] or [B, *features] with features "
                f"{list(self.steps.shape)}, got an input of shape {list(x.shape)}: the sizes of "
                "consecutive layers must match."
            )

        if not self._is_prepared:
            self._require_prepared(is_sequence)
        if not is_sequence:
            return self._delayed(x[:, None])[:, 0]
        return self._delayed(x)

    def _delayed(self, x: Tensor) -> Tensor:
        B, T = x.shape[:2]
        state = self.read("Delay", B)
        past = state[0].to(x) if state else x.new_zeros(B, self.longest, *x.shape[2:])

        # [B, longest + T, *features]: step t of x is at longest + t, so its delayed value is
        # `steps` before this.
        window = torch.cat([past, x], 1)
        times = torch.arange(T, device=x.device).reshape(T, *[1] * self.steps.ndim)
        indices = (times + self.longest - self.steps).expand(B, T, *self.steps.shape)
        self.load_state_tensors([window[:, T:]])
        return window.gather(1, indices)

    def extra_repr(self) -> str:
        return f"{list(self.steps.shape)}, longest={self.longest}"


class SpikingGraph(Container):
    """Modules with any connections: the input of a module is a sum of outputs.

    Without cycles, each module runs on the whole sequence. With cycles, modules run step by step,
    in a loop of Python.

    Args:
        modules: The modules by name, each after the modules that lead to it.
        sources: For each module and for `"output"`, the names that lead to it; `"input"` is the
            input of the net. A module gets their sum.
        delayed: Pairs of a source and its target that pass on the output of the step before.
        shape: Shape of a step of the input.
        shapes: For the source of each delayed pair, by name, the shape of a step of its output.

    Shape:
        `x` as `SpikingSequential`. Returns `spk, mem` of the module that alone leads to the output;
        otherwise the sum, twice.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> modules = {"hidden": LIFLayer(2, 20e-3), "twice": Scale(torch.tensor(2.0))}
        >>> sources = {"hidden": ["input"], "twice": ["input"], "output": ["hidden", "twice"]}
        >>> out, _ = SpikingGraph(modules, sources)(torch.ones(1, 2, 2))
        >>> out.tolist()  # spikes, from the second step on, and twice the input
        [[[2.0, 2.0], [3.0, 3.0]]]
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        sources: Mapping[str, Sequence[str]],
        *,
        delayed: Sequence[tuple[str, str]] = (),
        shape: tuple[int, ...] = (),
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)

        self.order = tuple(modules)
        self.sources = {name: tuple(names) for name, names in sources.items()}
        self.delayed = frozenset(delayed)
        self.shape = tuple(shape)
        self.shapes = dict(shapes or {})
        if self.delayed:
            self.last_step = Memory()

    def _first_module(self) -> nn.Module | None:
        first = [name for name in self.order if "input" in self.sources[name]]
        return self._modules[first[0]] if len(first) == 1 else None

    def _run_inside(self, x: Tensor, run: Pass) -> Outputs:
        if not self.delayed:
            return self._run_modules(x, run, {})[0]
        return run_steps("SpikingGraph", self.last_step, self._run_step, x, run)

    def _run_step(self, x: Tensor, run: Pass) -> Outputs:
        # Before the first step, everything is silent.
        names = sorted({source for source, _ in self.delayed})
        before = self.last_step.read("SpikingGraph", len(x)) or [
            x.new_zeros(len(x), *self.shapes[name]) for name in names
        ]
        outputs, results = self._run_modules(x, run, dict(zip(names, before, strict=True)))
        self.last_step.load_state_tensors([results[name][0] for name in names])
        return outputs

    def _run_modules(
        self, x: Tensor, run: Pass, before: Mapping[str, Tensor]
    ) -> tuple[Outputs, dict[str, Outputs]]:
        """Run all modules once; the outputs of the graph, and the outputs of each module."""
        results = {"input": (x, x)}

        def total(name: str) -> Tensor:
            parts = [
                before[source] if (source, name) in self.delayed else results[source][0]
                for source in self.sources[name]
            ]
            return sum(parts[1:], parts[0])

        ends = self.sources["output"]
        for name in self.order:
            module = self._modules[name]
            assert module is not None
            results[name] = run_module(module, total(name), run, is_last=name in ends)

        if len(ends) == 1 and (ends[0], "output") not in self.delayed:
            return results[ends[0]], results
        y = total("output")
        return (y, y), results

    def connections(self) -> list[str]:
        """The connections, one line for each module and for the output.

        Example:
            >>> SpikingGraph({"a": nn.Identity()}, {"a": ["input"], "output": ["a"]}).connections()
            ['a <- input', 'output <- a']
        """
        lines = []
        for name in (*self.order, "output"):
            texts = [
                f"{source} of the step before" if (source, name) in self.delayed else source
                for source in self.sources[name]
            ]
            lines.append(f"{name} <- {' + '.join(texts)}")
        return lines

    def extra_repr(self) -> str:
        n_connections = sum(map(len, self.sources.values()))
        return f"{n_connections} connections, {len(self.delayed)} of the step before"


# From a node to a module


def module_of(node: NirNode, dtype: torch.dtype) -> nn.Module:
    """The module of a node without neurons.

    Args:
        node: The node.
        dtype: The dtype of its parameters.
    """
    weight, settings = node.arrays.get("weight"), node.settings

    # Weights of NIR are [out, in], weights of synapses [in, out].
    if node.kind in ("Linear", "Affine"):
        assert weight is not None
        n_outputs, n_inputs = weight.shape
        synapse = LIFSynapse(n_inputs, n_outputs, bias=node.kind == "Affine")
        return _filled(synapse, weight.T, node.arrays.get("bias"), dtype)

    if node.kind == "Scale":
        return Scale(torch.from_numpy(np.array(node.arrays["scale"])).to(dtype))
    if node.kind == "Delay":
        return Delay(torch.from_numpy(node.arrays["delay"].astype(np.int64)))
    if node.kind == "Flatten":
        # The modules of torch have the batch as a dimension before the dimensions of NIR.
        axes = (axis for key in ("start_dim", "end_dim") for axis in settings[key])
        return nn.Flatten(*(axis + (axis >= 0) for axis in axes))

    stride, padding = settings["stride"], settings["padding"]
    if weight is None:
        divisor = 1 if node.kind == "SumPool2d" else None
        return nn.AvgPool2d(settings["kernel_size"], stride, padding, divisor_override=divisor)

    kind: Any = nn.Conv1d if node.kind == "Conv1d" else nn.Conv2d
    (groups,) = settings["groups"]
    sizes = weight.shape[1] * groups, len(weight), weight.shape[2:]
    conv = kind(*sizes, stride, padding, settings["dilation"], groups)
    return _filled(conv, weight, node.arrays["bias"], dtype)


def _filled(module: nn.Module, weight: Array, bias: Array | None, dtype: torch.dtype) -> nn.Module:
    """The module with the weight and the bias of a node."""
    for name, array in {"weight": weight, "bias": bias}.items():
        if array is not None:
            values = torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
            setattr(module, name, nn.Parameter(values))
    return module


def shaped(node: NirNode, shape: Shape, notes: list[str]) -> NirNode:
    """A node with the shapes of its input and output; parameters get the shape of the neurons.

    Args:
        node: The node.
        shape: Shape of a step of its input.
        notes: Gets a line for each assumption.

    Raises:
        ValueError: If the node does not take such an input.
    """
    if node.kind in RESHAPING:
        return replace(node, shape_in=shape, shape_out=_shape_after(node, shape))

    arrays = {}
    for key, array in node.arrays.items():
        try:
            arrays[key] = np.broadcast_to(array, shape)
        except ValueError:
            raise node.error(
                f"an input of shape {list(shape)}", f"the shape of {key}, {list(array.shape)}"
            ) from None

    # `amount` was added by the reader, from the threshold.
    spread = [key for key, a in node.arrays.items() if a.shape != shape and key != "amount"]
    if spread:
        notes.append(
            f"{node.owner.removeprefix('NIR: ')}: {', '.join(spread)} without the shape of the "
            f"neurons, {list(shape)}: one value is used for all of them"
        )
    return replace(node, arrays=arrays, shape_in=shape, shape_out=shape)


def _shape_after(node: NirNode, shape: Shape) -> Shape:
    """The shape of a step of the output, from a run of the module.

    Raises:
        ValueError: If the node does not take the input, or its parameters do not fit.
    """
    # Windows move over all dimensions but the channels.
    rank = len(shape) if node.kind == "Flatten" else AXES.get(node.kind, 0) + 1
    if len(shape) != rank:
        raise node.error(f"an input of shape {list(shape)}", f"{rank} dimensions")

    batch = 2
    try:
        with torch.random.fork_rng([]), torch.no_grad():
            module = module_of(node, torch.float32)
            # Without values, pixels take no memory. A synapse needs values, but has one dimension.
            device = "cpu" if isinstance(module, LIFSynapse) else "meta"
            got = module.to(device)(torch.zeros(batch, *shape, device=device)).shape
        if got[0] != batch:
            raise ValueError("a dimension before the features")
    except (ValueError, RuntimeError, IndexError) as error:
        reason = one_line(error).rstrip(".")
        raise node.error(
            f"an input of shape {list(shape)}", f"an input that it takes ({reason})"
        ) from None
    return tuple(got[1:])
