"""Modules of imported graphs: `Scale`, `Delay`, and `SpikingGraph`, a container of any graph."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers.noise import Noise
from nwavesdk.layers.prepare import Prepared, as_trainable, backward_pass
from nwavesdk.net.container import Container, Pass, run_module

__all__ = ["Delay", "Scale", "SpikingGraph"]


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
        require_floating("Scale", scale)
        self.scale = nn.Parameter(scale.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """`x * scale`."""
        return x * self.scale

    def extra_repr(self) -> str:
        return f"{list(self.scale.shape)}"


class Delay(Prepared):
    """Passes on each element after its own number of steps: the node Delay.

    The state is the last inputs, as many as the longest delay has steps.

    Args:
        steps: Delays [steps], int64, of the shape of a step.

    Shape:
        `x` [B, T, *steps.shape] is a sequence, [B, *steps.shape] one step -> the same.

    Raises:
        ValueError: If a delay is below 0, or the input has another shape.
        RuntimeError: If `prepare_net` is missing, or the batch size changed without it.

    Example:
        >>> from nwavesdk.layers import prepare_net
        >>> delay = Delay(torch.tensor([0, 2]))
        >>> prepare_net(delay)
        >>> delay(torch.tensor([[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]])).tolist()
        [[[1.0, 0.0], [2.0, 0.0], [3.0, 1.0]]]
    """

    _state_attributes = ("_past",)
    steps: Tensor

    def __init__(self, steps: Tensor) -> None:
        super().__init__()
        steps = steps.detach().clone().long()
        least = int(steps.min()) if steps.numel() else 0
        whole_number("Delay", "steps", least, least=0)
        self.register_buffer("steps", steps)
        self.longest = int(steps.max()) if steps.numel() else 0
        self._past: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """The inputs of earlier steps; see the class."""
        require_floating("Delay", x)
        shape = tuple(self.steps.shape)
        leading = x.ndim - len(shape)
        if leading not in (1, 2) or tuple(x.shape[leading:]) != shape:
            raise ValueError(
                f"Delay takes [B, T, *features] or [B, *features] with features {list(shape)}, got "
                f"an input of shape {list(x.shape)}: the sizes of consecutive layers must match."
            )
        if not self._is_prepared:
            self._require_prepared(leading == 2)
        sequence = x if leading == 2 else x[:, None]
        y = self._delayed(sequence)
        return y if leading == 2 else y[:, 0]

    def _delayed(self, x: Tensor) -> Tensor:
        B, T = x.shape[:2]
        past = self._past
        if past is None:
            past = x.new_zeros(B, self.longest, *x.shape[2:])
        else:
            self._require_own_state()
        if len(past) != B:
            raise RuntimeError(
                f"Delay has state for a batch of {len(past)}, the input has {B}: call "
                "prepare_net(model) before a new batch."
            )
        # [B, longest + T, *features]: step t of the input is at longest + t.
        window = torch.cat([as_trainable(past.to(x)), x], 1)
        times = torch.arange(T, device=x.device).reshape(T, *[1] * self.steps.ndim)
        places = (times + self.longest - self.steps).expand(B, T, *self.steps.shape)
        y = window.gather(1, places)
        self._past = window[:, T:]
        self._state_pass = backward_pass()
        return y

    def prepare(self, noise: Noise, keep_state: bool) -> None:  # noqa: ARG002  # of the base
        """Forget earlier inputs, unless `keep_state`."""
        if not keep_state:
            self._past = None

    def detach_state(self) -> None:
        self._past = None if self._past is None else self._past.detach()

    def state_tensors(self) -> list[Tensor]:
        return [] if self._past is None else [as_trainable(self._past)]

    def load_state_tensors(self, tensors: list[Tensor]) -> None:
        self._past = tensors[0] if tensors else None
        self._state_pass = backward_pass()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: they get the state without its graph."""
        past = None if self._past is None else self._past.detach()
        return super().__getstate__() | {"_past": past}

    def extra_repr(self) -> str:
        return f"{list(self.steps.shape)}, longest={self.longest}"


class _LastStep(Prepared):
    """Outputs of the step before, of the modules that a cycle leads from; the state of a graph."""

    _state_attributes = ("outputs",)

    def __init__(self) -> None:
        super().__init__()
        self.outputs: tuple[Tensor, ...] | None = None

    def prepare(self, noise: Noise, keep_state: bool) -> None:  # noqa: ARG002  # of the base
        """Forget the outputs, unless `keep_state`."""
        if not keep_state:
            self.outputs = None

    def read(self) -> tuple[Tensor, ...] | None:
        """The outputs, None before the first step."""
        if self.outputs is not None:
            self._require_own_state()
        return self.outputs

    def detach_state(self) -> None:
        if self.outputs is not None:
            self.outputs = tuple(output.detach() for output in self.outputs)

    def state_tensors(self) -> list[Tensor]:
        return [as_trainable(output) for output in self.outputs or ()]

    def load_state_tensors(self, tensors: list[Tensor]) -> None:
        self.outputs = tuple(tensors) or None
        self._state_pass = backward_pass()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which get the outputs without their graph."""
        outputs = self.outputs and tuple(output.detach() for output in self.outputs)
        return super().__getstate__() | {"outputs": outputs}


class SpikingGraph(Container):
    """Modules whose outputs add up at the modules that they lead to: a net with any connections.

    Without cycles, each module runs on the whole sequence. With cycles, modules run step by step,
    in a loop of Python.

    Args:
        modules: The modules by name, in an order in which each follows those that lead to it.
        sources: For each module and for `"output"`, the names that lead to it; `"input"` is the
            input of the net. A module gets their sum.
        delayed: Pairs of a source and what it leads to that pass on the output of the step before.
        shape: Shape of a step of the input.
        shapes: Shape of a step of the output of each module from which a delayed pair leads.

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
        self._kept = tuple(sorted({source for source, _ in self.delayed}))
        self._shapes = dict(shapes or {})
        if self.delayed:
            self.last_step = _LastStep()

    def _first_module(self) -> nn.Module | None:
        first = [name for name in self.order if "input" in self.sources[name]]
        return self._modules[first[0]] if len(first) == 1 else None

    def _run_inside(self, x: Tensor, run: Pass) -> tuple[Tensor, Tensor]:
        if not self.delayed:
            values: dict[str, tuple[Tensor, Tensor]] = {"input": (x, x)}
            return self._run_modules(values, run, {})
        run.restorers.append(self.last_step.state_restorer())
        one_step = Pass(None, True, run.restorers)
        if not run.is_sequence(x):
            return self._run_step(x, one_step)
        outputs = [self._run_step(x[:, t], one_step) for t in range(x.shape[1])]
        if not outputs:
            raise ValueError("SpikingGraph takes sequences of at least one step, got none.")
        spk = torch.stack([s for s, _ in outputs], 1)
        is_one = all(s is m for s, m in outputs)
        return spk, spk if is_one else torch.stack([m for _, m in outputs], 1)

    def _run_step(self, x: Tensor, run: Pass) -> tuple[Tensor, Tensor]:
        kept = self.last_step.read()
        if kept is None:
            before = {n: x.new_zeros(len(x), *self._shapes[n]) for n in self._kept}
        else:
            before = dict(zip(self._kept, kept, strict=True))
            if len(kept[0]) != len(x):
                raise RuntimeError(
                    f"SpikingGraph has state for a batch of {len(kept[0])}, the input has "
                    f"{len(x)}: call prepare_net(model) before a new batch."
                )
        values: dict[str, tuple[Tensor, Tensor]] = {"input": (x, x)}
        result = self._run_modules(values, run, before)
        self.last_step.load_state_tensors([values[name][0] for name in self._kept])
        return result

    def _run_modules(
        self, values: dict[str, tuple[Tensor, Tensor]], run: Pass, before: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Run all modules once; `values` gets their outputs."""
        ends = set(self.sources["output"])
        for name in self.order:
            module = self._modules[name]
            assert module is not None
            total = self._sum(name, values, before)
            values[name] = run_module(module, total, run, is_last=name in ends)
        if len(self.sources["output"]) == 1 and not any(t == "output" for _, t in self.delayed):
            return values[self.sources["output"][0]]
        y = self._sum("output", values, before)
        return y, y

    def _sum(
        self,
        name: str,
        values: Mapping[str, tuple[Tensor, Tensor]],
        before: Mapping[str, Tensor],
    ) -> Tensor:
        parts = [
            before[source] if (source, name) in self.delayed else values[source][0]
            for source in self.sources[name]
        ]
        return parts[0] if len(parts) == 1 else sum(parts[1:], parts[0])

    def connections(self) -> list[str]:
        """One line for each module and for the output: what they get.

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
