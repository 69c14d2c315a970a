"""sinabs: `lif_forward`, the function of its `LIF`, with our fast_sigmoid.

It spikes at most once per step.
"""

import torch
from sinabs.activation import MembraneSubtract, SingleSpike
from sinabs.layers.functional.lif import lif_forward, lif_forward_single
from torch import Tensor

TIME_FIRST = False
THRESHOLD = torch.tensor(1.0)


def _fast_sigmoid(v_mem: Tensor, spike_threshold: Tensor) -> Tensor:
    return 1 / (1 + 25 * (v_mem - spike_threshold).abs()) ** 2


def _options(decay: float) -> dict:
    return {
        "alpha_mem": torch.tensor(decay),
        "alpha_syn": None,
        "spike_threshold": THRESHOLD,
        "spike_fn": SingleSpike,
        "reset_fn": MembraneSubtract(),
        "surrogate_grad_fn": _fast_sigmoid,
        "min_v_mem": None,
        "norm_input": False,
    }


def sequence(decay: float):
    """Return a call for a whole sequence."""
    options = _options(decay)

    def run(x: Tensor, state: dict | None) -> tuple[Tensor, dict]:
        spikes, state, _ = lif_forward(
            x, state={"v_mem": torch.zeros_like(x[:, 0])} if state is None else state, **options
        )
        return spikes, {"v_mem": state["v_mem"]}

    return run


def step(decay: float):
    """Return a call for one time step."""
    options = _options(decay)

    def run(x: Tensor, state: dict | None) -> tuple[Tensor, dict]:
        spikes, state = lif_forward_single(
            x, state={"v_mem": torch.zeros_like(x)} if state is None else state, **options
        )
        return spikes, {"v_mem": state["v_mem"]}

    return run
