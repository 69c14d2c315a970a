"""The nodes of neuron layers, for `to_nir`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nwavesdk.interop.nir.draft import GraphDraft, Signal, refusal
from nwavesdk.interop.nir.neurons import (
    NO_LEAK,
    NIRCubaLIFLayer,
    NIRCubaLILayer,
    NIRCubaSubtractLayer,
    NIRLIFLayer,
    NIRLILayer,
    NIRSubtractLayer,
    NIRThresholdLayer,
)
from nwavesdk.interop.nir.node import Array
from nwavesdk.layers import CubaLIFLayer, IFLayer, LIFLayer, LILayer, NeuronLayer

__all__ = ["NEURONS", "add_neurons"]


@dataclass(frozen=True)
class _Layer:
    """A layer that is being exported.

    Attributes:
        draft: The graph.
        path: Name of the layer.
        layer: The layer.
        constants: Its constants, one value per neuron.
        signal: Its input.
        is_last: Whether it ends the net.
    """

    draft: GraphDraft
    path: str
    layer: Any
    constants: Mapping[str, Array]
    signal: Signal
    is_last: bool

    def constant(self, name: str, default: float) -> Array:
        """A constant; `default` for a layer that does not have it."""
        tau_or_threshold = next(iter(self.constants.values()))
        return self.constants.get(name, np.full_like(tau_or_threshold, default))

    def add(self, kind: str, metadata: Mapping[str, Any] | None = None, **values: Any) -> Signal:
        """Add a node of these neurons."""
        metadata = {**self.draft.of_module(self.path), **(metadata or {})}
        return self.draft.add(kind, self.path, self.signal, metadata=metadata, **values)

    def refuse(self, got: str, expected: str, remedy: str) -> ValueError:
        return refusal(self.path, got, expected, remedy)


def add_neurons(
    draft: GraphDraft, path: str, layer: NeuronLayer, signal: Signal, *, is_last: bool
) -> Signal:
    """Add the nodes of a layer; `is_last` says whether a LIF layer without reset is a read-out.

    Raises:
        ValueError: If NIR has no such neuron.
    """
    if layer.recurrent_delays is not None:
        raise refusal(
            path,
            "delays of recurrent weights",
            "recurrent weights that act one step later",
            "leave recurrent_delays out, or use Feedback with a DelayedSynapse",
        )
    if layer.features != signal.shape:
        raise refusal(
            path,
            f"an input of shape {list(signal.shape)}",
            f"that of the neurons, {list(layer.features)}",
            "give the input_shape of the net",
        )
    constants = {
        name: np.broadcast_to(value.detach().cpu().numpy(), layer.features).copy()
        for name, value in layer.effective_constants(torch.float64).items()
    }
    n_before = len(draft.nodes)
    out = _MAKERS[type(layer)](_Layer(draft, path, layer, constants, signal, is_last))
    if layer.layer_topology == "RC":
        _add_loop(draft, path, layer, list(draft.nodes)[n_before], out)
    return out


def _add_loop(draft: GraphDraft, path: str, layer: NeuronLayer, target: str, out: Signal) -> None:
    """Add the recurrent weights of a layer, which its cycle delays by one step."""
    weights = layer.effective_recurrent_weights()
    assert weights is not None
    if len(out.shape) != 1:
        raise refusal(
            path,
            f"recurrent weights of neurons {list(out.shape)}",
            "neurons in one dimension, because NIR cannot restore others",
            "flatten the features before the layer",
        )
    # [from, to] becomes [to, from].
    matrix = weights.detach().cpu().numpy().T.copy()
    loop = draft.add("Linear", f"{path}_recurrent" if path else "recurrent", out, weight=matrix)
    draft.connect(loop, target)


def _leak(draft: GraphDraft, tau: Array, gain: Array) -> dict[str, Any]:
    """Tau and r of a node with the decay and the gain of a layer."""
    share = -np.expm1(-draft.dt / tau)
    node_tau = tau if draft.discretization == "exact" else draft.dt / share
    return {"tau": node_tau, "r": gain / share}


def _has_leak(of: _Layer, tau: Array) -> bool:
    """Whether the neurons leak; a decay that rounds to 1 is none.

    Raises:
        ValueError: If only some of them do.
    """
    leaks = np.exp(-of.draft.dt / tau) < 1
    if leaks.any() != leaks.all():
        raise of.refuse(
            "neurons with and without a leak in one layer",
            "one kind",
            "divide the layer into two, as with Branches",
        )
    return bool(leaks.all())


def _spiking(of: _Layer, metadata: Mapping[str, Any]) -> Signal:
    """LIF, or IF for neurons without a leak."""
    tau = of.constant("tau", NO_LEAK)
    gain, reset = of.constant("gain", 1), of.constant("reset", 0)
    values: dict[str, Any] = {"v_threshold": of.constants["threshold"], "v_reset": reset}
    if _has_leak(of, tau):
        values["v_leak"] = np.zeros_like(tau)
        return of.add("LIF", metadata, **_leak(of.draft, tau, gain), **values)
    if reset.any():
        raise of.refuse(
            "neurons without a leak that begin at 0 and are reset to another value",
            "a reset to 0",
            "shift threshold and reset",
        )
    return of.add("IF", metadata, r=gain / of.draft.dt, **values)


def _silent(of: _Layer) -> Signal:
    """LI, or I for neurons without a leak."""
    tau = of.constants["tau"]
    gain, rest = of.constant("gain", 1), of.constant("rest", 0)
    if _has_leak(of, tau):
        return of.add("LI", **_leak(of.draft, tau, gain), v_leak=rest)
    if rest.any():
        raise of.refuse("an integrator with a rest", "one that begins at 0", "set rest=0")
    return of.add("I", r=gain / of.draft.dt)


def _add_lif(of: _Layer) -> Signal:
    if of.layer.reset_mechanism != "none":
        is_soft = of.layer.reset_mechanism == "subtraction"
        return _spiking(of, of.draft.subtraction(of.path) if is_soft else {})
    membrane = _silent(of)
    if of.is_last and of.layer.layer_topology == "FF":
        of.draft.notes.append(
            f"{of.path} (LIFLayer without reset) is a read-out: the graph gives its membrane"
        )
        return membrane
    return of.draft.add(
        "Threshold",
        f"{of.path}_spikes" if of.path else "",
        membrane,
        metadata=of.draft.of_module(of.path),
        threshold=of.constants["threshold"],
    )


def _add_plain_reset(of: _Layer) -> Signal:
    return _spiking(of, {})


def _add_subtraction(of: _Layer) -> Signal:
    _require_threshold(of)
    return _spiking(of, of.draft.subtraction(of.path))


def _require_threshold(of: _Layer) -> None:
    threshold = of.constants["threshold"]
    if (of.constants.get("amount", threshold) != threshold).any():
        raise of.refuse(
            "neurons that subtract another amount than their threshold",
            "the threshold, which the metadata can say",
            "import them without delayed-reset, or train neurons of nwavesdk",
        )


def _add_cuba(of: _Layer) -> Signal:
    tau, tau_syn = of.constants["tau"], of.constants["tau_syn"]
    if not (_has_leak(of, tau) and _has_leak(of, tau_syn)):
        raise of.refuse(
            "a membrane or a current without a leak", "time constants", "set tau and tau_syn"
        )
    membrane = _leak(of.draft, tau, of.constant("gain", 1))
    current = _leak(of.draft, tau_syn, of.constant("gain_syn", 1))
    values: dict[str, Any] = {
        "tau_mem": membrane["tau"],
        "r": membrane["r"],
        "tau_syn": current["tau"],
        "w_in": current["r"],
    }
    if type(of.layer) is NIRCubaLILayer:
        return of.add("CubaLI", **values, v_leak=of.constants["rest"])
    metadata: Mapping[str, Any] = {}
    if type(of.layer) is not NIRCubaLIFLayer:
        _require_threshold(of)
        metadata = of.draft.subtraction(of.path)
    return of.add(
        "CubaLIF",
        metadata,
        **values,
        v_leak=np.zeros_like(tau),
        v_threshold=of.constants["threshold"],
        v_reset=of.constant("reset", 0),
    )


def _add_threshold(of: _Layer) -> Signal:
    return of.add("Threshold", threshold=of.constants["threshold"])


_MAKERS: dict[type[NeuronLayer], Callable[[_Layer], Signal]] = {
    CubaLIFLayer: _add_cuba,
    IFLayer: _add_subtraction,
    LIFLayer: _add_lif,
    LILayer: _silent,
    NIRCubaLIFLayer: _add_cuba,
    NIRCubaLILayer: _add_cuba,
    NIRCubaSubtractLayer: _add_cuba,
    NIRLIFLayer: _add_plain_reset,
    NIRLILayer: _silent,
    NIRSubtractLayer: _add_subtraction,
    NIRThresholdLayer: _add_threshold,
}

NEURONS = tuple(_MAKERS)
"""The layers that have a node."""
