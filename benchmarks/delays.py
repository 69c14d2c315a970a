"""Delayed synapses next to `conv1d` with one tap per step, and to the package `dcls`.

A case is the public call of `DelayedSynapse`: forward and backward of a whole sequence in training,
or a sequence or a step in `eval()`, where delays are whole steps and taps are made once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from benchmarks.instrument import (
    Contender,
    Outcome,
    difference_text,
    measure_contenders,
)
from nwavesdk.layers import DelayedSynapse, prepare_net
from nwavesdk.solvers.sparse.delays_reference import delay_kernel

HEAD = ("delays", "ours, ms", "conv1d, ms", "× as fast", "dcls, ms", "× as fast", "target")
ORIGIN = (
    "The name of a case is the way of calling, batch × time steps, inputs – outputs, one delay per "
    "connection or input, and density; delays go up to 24 steps."
)
MAX_DELAY = 24
Row = dict[str, Any]


@dataclass(frozen=True)
class DelayCase:
    """A delayed synapse to time.

    Args:
        way: `"first"` (no gradient of the input), `"hidden"` (with it), both forward and backward
            of a sequence; `"eval"`, forward of a sequence; `"step"`, one step of a stream.
        density: Share of inputs that are 1.
        per: Kind of delays, as in `DelayedSynapse`.
        B: Batch.
        T: Steps.
        sizes: N_in, N_out.
    """

    way: str
    density: float = 0.03
    per: str = "connection"
    B: int = 64
    T: int = 100
    sizes: tuple[int, int] = (700, 256)

    @property
    def name(self) -> str:
        """A name such as `delays/first/64x100/700-256/connection/density 0.03`."""
        sizes = "-".join(map(str, self.sizes))
        return f"delays/{self.way}/{self.B}x{self.T}/{sizes}/{self.per}/density {self.density:g}"

    @property
    def is_trained(self) -> bool:
        """Whether there is a backward pass."""
        return self.way in ("first", "hidden")

    def draw_data(self) -> tuple[Tensor, Tensor, Tensor]:
        """Input [B, T, N_in], the input before it [B, MAX_DELAY, N_in], and ∂L/∂charge."""
        draw = torch.Generator().manual_seed(0)
        noise = torch.rand(self.B, MAX_DELAY + self.T, self.sizes[0], generator=draw)
        sequence = (noise < self.density).float()
        if self.way != "step":
            sequence[:, :MAX_DELAY] = 0
        grad = torch.randn(self.B, self.T, self.sizes[1], generator=draw)
        return sequence[:, MAX_DELAY:].contiguous(), sequence[:, :MAX_DELAY].contiguous(), grad

    def build_synapse(self) -> DelayedSynapse:
        """The synapse, always the same."""
        torch.manual_seed(1)
        return DelayedSynapse(*self.sizes, MAX_DELAY, per=self.per).train(self.is_trained)


CASES = [
    *(DelayCase(way, density) for way in ("first", "hidden") for density in (0.03, 0.1, 0.2)),
    DelayCase("hidden", per="input"),
    DelayCase("eval"),
    *(DelayCase(way, B=1, T=T) for way, T in (("eval", 100), ("step", 1))),
    DelayCase("step", T=1),
]
# How many times faster than the faster of conv1d and dcls.
TARGETS = {("first", 0.03): 10, ("hidden", 0.03): 8}
LEAST = 4


def measure(
    peers: Any,  # noqa: ARG001
    quick: bool,
    wanted: Callable[[str], bool],
) -> Iterator[list[Row]]:
    """Measure one row per case."""
    for case in CASES[:1] if quick else CASES:
        if wanted(case.name):
            yield [_row(case)]


def _row(case: DelayCase) -> Row:
    x, past, grad = case.draw_data()
    ours = Contender(_call(case, _own(case, past), x, grad), _convolution(case, x, past, grad))
    others = {"conv1d": _convolution(case, x, past, grad)}
    package = _dcls()
    if package is not None and case.is_trained and case.per == "connection":
        others["dcls"] = _spacings(case, package, x, grad)
    (row,) = measure_contenders({case.name: ours}, others)
    return {**row, "way": case.way, "density": case.density, "per": case.per}


Forward = Callable[[Tensor], Tensor]


def _call(
    case: DelayCase, parts: tuple[Forward, dict[str, Tensor]], x: Tensor, grad: Tensor
) -> Callable[[], Outcome]:
    """Forward, and in training backward, of a function with parameters."""
    forward, parameters = parts

    def call() -> Outcome:
        leaf = x.detach().requires_grad_(case.way == "hidden")
        for parameter in parameters.values():
            parameter.grad = None
        with torch.set_grad_enabled(case.is_trained):
            charge = forward(leaf)
        results = {"charge": charge.detach()}
        if case.is_trained:
            charge.backward(grad)
            leaves = {"x": leaf, **parameters}
            results |= {k: p.grad for k, p in leaves.items() if p.grad is not None}
        return Outcome(x, results)

    return call


def _own(case: DelayCase, past: Tensor) -> tuple[Forward, dict[str, Tensor]]:
    synapse = case.build_synapse()

    def forward(x: Tensor) -> Tensor:
        prepare_net(synapse)
        if case.way != "step":
            return synapse(x)
        synapse.load_state_tensors([past])
        return synapse(x[:, 0])[:, None]

    return forward, {"weight": synapse.weight, "delays": synapse.scaled_delays}


def _convolution(case: DelayCase, x: Tensor, past: Tensor, grad: Tensor) -> Callable[[], Outcome]:
    """`conv1d` with one tap per step, made of weights and delays in each call of the training."""
    synapse = case.build_synapse()

    def make_taps() -> Tensor:
        interpolation = "linear" if case.is_trained else "none"
        shares = delay_kernel(synapse.delays, MAX_DELAY, interpolation, 1.0)
        return (synapse.weight * shares).permute(2, 1, 0).flip(-1)

    made_once = make_taps().detach().contiguous()

    def forward(x: Tensor) -> Tensor:
        sequence = torch.cat([past, x], 1).transpose(1, 2)
        taps = make_taps() if case.is_trained else made_once
        return conv1d(sequence, taps).transpose(1, 2)

    parameters = {"weight": synapse.weight, "delays": synapse.scaled_delays}
    return _call(case, (forward, parameters), x, grad)


def _dcls() -> ModuleType | None:
    """The package `dcls`, if it is installed."""
    try:
        from DCLS.construct import modules
    except ImportError:
        return None
    return modules  # type: ignore[no-any-return]


def _spacings(
    case: DelayCase, package: ModuleType, x: Tensor, grad: Tensor
) -> Callable[[], Outcome]:
    """The triangle of `dcls`, which is our linear interpolation.

    Its positions count from the middle of the kernel, whose last tap is the present.

    Raises:
        RuntimeError: If its charge differs from the charge of our synapse.
    """
    synapse = case.build_synapse()
    taps = MAX_DELAY + 1
    module = package.Dcls1d(*case.sizes, 1, dilated_kernel_size=taps, bias=False, version="v1")
    with torch.no_grad():
        module.weight.copy_(synapse.weight.t()[..., None])
        module.P.copy_((MAX_DELAY // 2 - synapse.delays.t())[None, ..., None])

    def forward(x: Tensor) -> Tensor:
        charge: Tensor = module(pad(x.transpose(1, 2), (MAX_DELAY, 0))).transpose(1, 2)
        return charge

    prepare_net(synapse)
    with torch.no_grad():
        if not torch.allclose(forward(x), synapse(x), rtol=1e-3, atol=1e-3):
            raise RuntimeError("the charge of dcls differs from the charge of DelayedSynapse.")
    return _call(case, (forward, dict(module.named_parameters())), x, grad)


def cells(row: Row) -> list[str]:
    """Return the cells of one line of the table."""
    title = row["name"].partition("/")[2]
    if not row["parity"]["agrees"]:
        return [title, f"differs from conv1d ({difference_text(row)}): no number"]
    line = [title, _text(row["times_ms"]["ours"])]
    for name in ("conv1d", "dcls"):
        there = name in row["times_ms"]
        line += [_text(row["times_ms"][name]), _text(row["ratios"][name])] if there else ["-", "-"]
    if row["way"] not in ("first", "hidden") or row["per"] == "input":
        return [*line, "-"]
    bound = TARGETS.get((row["way"], row["density"]), LEAST)
    least = min(ratio["median"] for ratio in row["ratios"].values())
    return [*line, f"≥ {bound} × {'met' if least >= bound else 'missed'}"]


def _text(spread: dict[str, float]) -> str:
    return f"{spread['median']:.3g}"


def table_of(section: dict[str, Any]) -> list[list[str]]:
    """Return the table with its head."""
    return [list(HEAD), *(cells(row) for row in section["rows"])]
