"""The words of a call are the arguments of its loop, in the order of the loop's signature."""

import pytest
import torch

from nwavesdk.layers import AdLIFLayer, LIFLayer
from nwavesdk.solvers import Spec
from nwavesdk.solvers.cpu import passes
from nwavesdk.solvers.cpu.loops import BACKWARD_LOOPS, FORWARD_LOOPS, STATE_ARRAYS, call_words
from nwavesdk.solvers.cpu.serial import SerialPasses
from nwavesdk.solvers.passes import sum_over_batch
from nwavesdk.solvers.problem import ResultGradient

B, T = 3, 5

LAYERS = {
    "over time": AdLIFLayer(8, learn=("tau",)),
    "packed": LIFLayer(2, 10e-3),
    "recurrent": AdLIFLayer(8, learn=("tau",), layer_topology="RC"),
}


@pytest.fixture
def calls(monkeypatch):
    """All calls of kernels: the loop, the sizes and the words; none runs."""
    recorded = []

    class RecordedCall:
        def __init__(self, loop, _dtype, _steps, *, sizes, **_):
            self.loop, self.sizes = loop, sizes

        def run(self, words):
            recorded.append((self.loop, self.sizes, words))
            return 0

    monkeypatch.setattr(passes, "KernelCall", RecordedCall)
    passes.cached_forward_pass.cache_clear()
    passes.cached_backward_pass.cache_clear()
    yield recorded
    passes.cached_forward_pass.cache_clear()
    passes.cached_backward_pass.cache_clear()


def words_by_name(call):
    """The words under the names of the loop's arguments; of state arrays, a list."""
    loop, sizes, words = call
    counts = {"initial": sizes["recalled"] if loop in BACKWARD_LOOPS else sizes["K"]}
    remaining = iter(words)
    named = {
        name: [next(remaining) for _ in range(counts.get(name, sizes["K"]))]
        if name in STATE_ARRAYS
        else next(remaining)
        for name in call_words(loop)
    }
    assert next(remaining, None) is None
    return named


def address(tensor):
    return 0 if tensor is None else tensor.data_ptr()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("needs_saved", [False, True])
def test_words_of_both_passes_are_those_of_the_loops(kind, needs_saved, calls):
    layer = LAYERS[kind]
    N = layer.features[0]
    is_recurrent = kind == "recurrent"
    run = SerialPasses(
        Spec(neuron=layer.neuron, surrogate=layer.spike_grad, detach_reset=False),
        "learning",
        layer.constants(),
        sizes=(B, T, N),
        chain=sum_over_batch,
        dtype=torch.float32,
        is_recurrent=is_recurrent,
    )
    x = torch.rand(B, T, N)
    states = [torch.rand(B, N) for _ in layer.neuron.states]
    recurrence = [torch.rand(N, N), torch.rand(B, N)] if is_recurrent else []
    result = run.forward(x, states, recurrence, needs_saved, needs_saved)
    first, *others = result.saved or (None,)
    expected = {
        "batch_stride": T * N,
        "step_stride": N,
        "x": address(x),
        "constants": address(run.constants),
        "s": address(result.spikes),
        "w": address(first),
        "mem": address(result.mem),
        "others": address(others[0]) if others else 0,
        "initial": [address(state) for state in states],
        "final": [address(state) for state in result.last],
    }
    if is_recurrent:
        expected |= {"weights": address(recurrence[0]), "spikes_before": address(recurrence[1])}
    assert calls[-1][0] is FORWARD_LOOPS[list(LAYERS).index(kind)]
    assert words_by_name(calls[-1]) == expected
    if not needs_saved:
        return

    grads = ResultGradient(torch.rand_like(x), None, [torch.rand(B, N), *[None] * len(states[1:])])
    gradient = run.backward(result.saved, states, recurrence, result.spikes, grads, False)
    adjoint = run._adjoint
    words = words_by_name(calls[-1])
    expected = {
        "w": address(first),
        "others": address(others[0]) if others else 0,
        "constants": address(run.constants),
        "grad_s": address(grads.spikes),
        "grad_mem": 0,
        "grad_x": address(gradient.x),
        "grad_constants": address(gradient.constants),
        "parameters": words["parameters"],
        "initial": [address(states[k]) for k in adjoint.recalled],
        "grad_last": [address(g) for g in grads.last],
        "grad_states": [address(g) for g in gradient.states],
    }
    if is_recurrent:
        expected |= {
            "transposed": words["transposed"],
            "grad_spikes_before": address(gradient.spikes),
        }
    assert calls[-1][0] is BACKWARD_LOOPS[list(LAYERS).index(kind)]
    assert words == expected
