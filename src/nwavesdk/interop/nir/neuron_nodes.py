"""The neurons of NIR as layers, and layers of neurons as nodes of NIR: one table for both.

Nodes and layers are translated through *constants*, one value per neuron, with the membrane
measured from its rest:

    tau, gain           of the membrane; `gain` is the response to an input of 1 after one step,
                        and tau is `NO_LEAK` for neurons without a leak
    tau_syn, gain_syn   of the current of CubaLI and CubaLIF
    rest                of neurons that do not spike
    threshold           of neurons that spike; with `reset`, the membrane after a spike, or
                        `amount`, the part that a spike subtracts

`FORMS` has the layers, and the fixed values of the constants that a layer does not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.interop.nir.graph import NirGraph
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
from nwavesdk.interop.nir.node import SPIKING, SUBTRACTION, Array, NirNode, node_error
from nwavesdk.layers import CubaLIFLayer, IFLayer, LIFLayer, LILayer, NeuronLayer

__all__ = ["form_of", "layer_of", "nodes_of"]

# A time constant of this part of a step has a decay of exp(-1000), which is 0.
NO_MEMORY = 1e-3

# Largest error of a gain of 1 that is rounding, in units of the last place.
MAX_ROUNDING = 4


@dataclass(frozen=True)
class Form:
    """A layer, and the constants for which it is the same as a node.

    Attributes:
        layer: The class of the layer.
        fixed: Values of the constants that the layer does not have: numbers, or the name of the
            constant that has the same value.
        options: Other arguments of the layer.
    """

    layer: Any
    fixed: Mapping[str, float | str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The constants that the layer has."""
        return tuple(constant.name for constant in self.layer.stored_constants)

    def completed(self, constants: Mapping[str, Array]) -> dict[str, Array]:
        """The constants of a layer and its fixed ones."""
        like = next(iter(constants.values()))  # for the shape
        fixed = {
            name: constants[value] if isinstance(value, str) else np.full_like(like, value)
            for name, value in self.fixed.items()
        }
        return {**constants, **fixed}

    def fits(self, constants: Mapping[str, Array]) -> bool:
        """Whether the layer has these constants."""
        if constants.keys() != {*self.names, *self.fixed}:
            return False

        completed = self.completed({name: constants[name] for name in self.names})
        is_equal = all((constants[name] == completed[name]).all() for name in self.fixed)
        # The layers of `nwavesdk.layers`, all of which have fixed constants, need thresholds above
        # 0.
        return is_equal and (not self.fixed or bool(np.all(completed.get("threshold", 1) > 0)))


# The fixed constants of LIF neurons in `nwavesdk.layers`: without spikes, with a reset to 0, and
# with a reset that subtracts the threshold.
SILENT: dict[str, float | str] = {"gain": 1.0, "rest": 0.0}
ZERO: dict[str, float | str] = {"gain": 1.0, "reset": 0.0}
SOFT: dict[str, float | str] = {"gain": 1.0, "amount": "threshold"}

FORMS = (
    Form(LILayer, SILENT),
    Form(NIRLILayer),
    Form(IFLayer, {**SOFT, "tau": NO_LEAK}),
    Form(LIFLayer, ZERO, {"reset_mechanism": "zero"}),
    Form(LIFLayer, SOFT, {"reset_mechanism": "subtraction"}),
    # A membrane without spikes, and a threshold: two nodes.
    Form(LIFLayer, SILENT, {"reset_mechanism": "none"}),
    Form(NIRLIFLayer),
    Form(NIRSubtractLayer),
    Form(NIRCubaLILayer),
    Form(CubaLIFLayer, {**SOFT, "gain_syn": 1.0}),
    Form(NIRCubaLIFLayer),
    Form(NIRCubaSubtractLayer),
    Form(NIRThresholdLayer),
)


# From a node to a layer


def layer_of(node: NirNode, graph: NirGraph, options: Mapping[str, Any]) -> NeuronLayer:
    """The layer of a node: the first layer in `FORMS` that has its constants.

    Args:
        node: A node of neurons, or Threshold.
        graph: Its graph.
        options: Further arguments of the layer.
    """
    constants = _constants_of(node, graph)
    form = next(form for form in FORMS if form.fits(constants))
    values = {name: _value(constants[name]) for name in form.names}
    layer: NeuronLayer = form.layer(node.shape_in, **values, **form.options, **options)
    return layer


def _constants_of(node: NirNode, graph: NirGraph) -> dict[str, Array]:
    """The constants of a node of neurons."""
    p = node.arrays
    if node.kind == "Threshold":
        return dict(p)

    # The input adds share · r · x to the membrane in a step. The share is dt without a leak, and
    # 1 - decay with a leak.
    tau, share = np.full(node.shape_in, NO_LEAK), np.asarray(graph.dt)
    rest = p.get("v_leak", p.get("v_reset", np.zeros(node.shape_in)))
    if "v_leak" in p:
        tau, share = _decay(p["tau_mem" if "tau_mem" in p else "tau"], graph)

    constants = {"tau": tau, "gain": _rounded_gain(share * p["r"], node)}
    if "tau_syn" in p:
        constants["tau_syn"], share = _decay(p["tau_syn"], graph)
        constants["gain_syn"] = _rounded_gain(share * p["w_in"], node)

    if node.kind not in SPIKING:
        return {**constants, "rest": rest}
    constants["threshold"] = p["v_threshold"] - rest
    if node.reset == "value":
        return {**constants, "reset": p["v_reset"] - rest}
    return {**constants, "amount": p["amount"]}


def _decay(tau: Array, graph: NirGraph) -> tuple[Array, Array]:
    """The tau of a layer, which has the decay exp(-dt/tau), and 1 - decay."""
    if graph.discretization == "exact":
        return tau, -np.expm1(-graph.dt / tau)

    # The decay of Euler's method is 1 - dt/tau, which is 0 for a tau of one step.
    share = np.minimum(graph.dt / tau, 1.0)
    with np.errstate(divide="ignore"):
        layer_tau = -graph.dt / np.log1p(-share)
    return np.where(share < 1, layer_tau, NO_MEMORY * graph.dt), share


def _rounded_gain(gain: Array, node: NirNode) -> Array:
    """A gain that differs from 1 by the rounding of the file is 1."""
    return np.where(np.abs(gain - 1) <= MAX_ROUNDING * node.rounding, 1.0, gain)


def _value(array: Array) -> float | Tensor:
    """A constant of a layer: a number if it is the same for all neurons."""
    first = float(array.flat[0])
    return first if (array == first).all() else torch.from_numpy(np.array(array))


# From a layer to nodes


def form_of(layer: object) -> Form | None:
    """The form of a layer; None if NIR has no such neuron."""
    for form in FORMS:
        options = {name: getattr(layer, name, None) for name in form.options}
        if type(layer) is form.layer and options == form.options:
            return form
    return None


def nodes_of(
    form: Form, layer: NeuronLayer, owner: str, dt: float, discretization: str
) -> list[NirNode]:
    """The nodes of a layer: one, and Threshold for a LIF layer without reset.

    Args:
        form: The form of the layer.
        layer: The layer.
        owner: Its name in errors.
        dt: Length of a step [s].
        discretization: `"exact"` or `"euler"`.

    Raises:
        ValueError: If NIR has no such neuron.
    """
    constants = form.completed(
        {
            name: np.broadcast_to(value.detach().cpu().numpy(), layer.features).copy()
            for name, value in layer.effective_constants(torch.float64).items()
        }
    )

    # The node Threshold is a layer by itself, or follows the membrane of a layer without reset.
    threshold = constants.get("threshold")
    spikes = (
        []
        if threshold is None
        else [NirNode(kind="Threshold", arrays={"threshold": threshold}, owner=owner)]
    )
    if "tau" not in constants:
        return spikes

    amount = constants.get("amount")
    if amount is not None and (amount != threshold).any():
        raise node_error(
            owner,
            "neurons that subtract another amount than their threshold",
            "the threshold, which the metadata can express",
            "train neurons of nwavesdk; neurons imported with delayed-reset, or from Rockpool or "
            "sinabs, cannot be exported",
        )

    kind, values = _membrane(constants, owner, dt, discretization)
    if "rest" in constants:
        return [NirNode(kind=kind, arrays=values, owner=owner), *spikes]

    # A node with spikes has the name of the node without spikes, followed by F: LIF, IF, CubaLIF.
    reset = "value" if amount is None else SUBTRACTION
    values |= {"v_threshold": constants["threshold"], "v_reset": _rest_or_reset(constants)}
    return [NirNode(kind=f"{kind}F", arrays=values, owner=owner, reset=reset)]


def _membrane(
    constants: Mapping[str, Array], owner: str, dt: float, discretization: str
) -> tuple[str, dict[str, Array]]:
    """The node of a membrane that does not spike, and its parameters."""
    # A decay that rounds to 1 is not a leak.
    taus = [constants[name] for name in ("tau", "tau_syn") if name in constants]
    leaks = np.exp(-dt / np.stack(taus)) < 1
    if leaks.any() != leaks.all():
        raise node_error(
            owner,
            "neurons with and without a leak in one layer",
            "all with a leak, or all without",
            "divide the layer into two, as with Branches",
        )

    if not leaks.any():
        if len(taus) > 1 or _rest_or_reset(constants).any():
            raise node_error(
                owner,
                "neurons without a leak that have a current, a rest, or a reset to another value",
                "a leak, or a rest and a reset of 0",
                "shift the constants",
            )
        return "I", {"r": constants["gain"] / dt}

    def leak(tau: Array, gain: Array) -> tuple[Array, Array]:
        """Time constant and resistance of a node with the decay and the gain of a layer."""
        share = -np.expm1(-dt / tau)
        return tau if discretization == "exact" else dt / share, gain / share

    tau, r = leak(constants["tau"], constants["gain"])
    v_leak = constants.get("rest", np.zeros_like(tau))
    if len(taus) == 1:
        return "LI", {"tau": tau, "r": r, "v_leak": v_leak}

    tau_syn, w_in = leak(constants["tau_syn"], constants["gain_syn"])
    current = {"tau_syn": tau_syn, "w_in": w_in}
    return "CubaLI", {"tau_mem": tau, "r": r, **current, "v_leak": v_leak}


def _rest_or_reset(constants: Mapping[str, Array]) -> Array:
    """The membrane at rest or after a reset; 0 if a spike subtracts."""
    return constants.get("rest", constants.get("reset", np.zeros_like(constants["tau"])))
