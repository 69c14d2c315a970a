"""What our calls are compared with: the same net in other libraries, and the parts of a layer."""

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.calls.cases import DECAY, LayerCallCase, NetCase
from benchmarks.calls.loop import plain_loop
from benchmarks.calls.ways import WHOLE, Call, Net, make_call
from benchmarks.instrument import Outcome, compare_outcomes
from benchmarks.peers import forms
from nwavesdk.layers import prepare_net
from nwavesdk.surrogate import fast_sigmoid


def peer_net(case: NetCase, peer: ModuleType) -> Net:
    """Return the net of a case in a library, as its users write it: `Linear` and a neuron."""
    scale = forms.scale_of(peer, DECAY)
    products: list[nn.Linear] = []
    cells = []
    for weight in case.weights():
        N_in, N_out = weight.shape
        linear = nn.Linear(N_in, N_out, bias=False)
        linear.weight.data.copy_(weight.t() * scale)
        products.append(linear)
        cells.append(peer.cell(DECAY))
    states: list[object] = [None] * len(cells)

    def reset() -> None:
        states[:] = [None] * len(cells)

    def forward(x: Tensor) -> Tensor:
        for k, (linear, cell) in enumerate(zip(products, cells, strict=True)):
            x, states[k] = cell(linear(x), states[k])
        return x

    # Named as in our net, where neuron layers are between the synapses.
    weights = {f"{2 * k}.weight": linear.weight for k, linear in enumerate(products)}
    return Net(reset, forward, weights)


def agreeing_nets(
    case: NetCase, peers: Mapping[str, ModuleType]
) -> tuple[dict[str, Net], dict[str, Any]]:
    """Return the nets of the libraries that agree with ours, and the parity of each.

    Spikes must be equal. Gradients must equal the gradients of our net with the peer's reset and
    surrogate.
    """
    x, _ = case.draw_data()
    nets = {}
    parities = {}
    for name, peer in peers.items():
        net = peer_net(case, peer)
        options = {
            "detach_reset": peer.GRADIENT.detach_reset,
            "spike_grad": fast_sigmoid(peer.GRADIENT.slope),
        }
        expected = make_call(case.way, case.called("reference", **options), x)
        call = make_call(case.way, net, x)
        parity = compare_outcomes(partial(_in_our_terms, case, peer, call), expected)
        parities[name] = parity.as_json()
        if parity.agrees:
            nets[name] = net
    return nets, parities


def _in_our_terms(case: NetCase, peer: ModuleType, call: Call) -> Outcome:
    """The outcome of a call of a peer, with the gradients of our weights [N_in, N_out]."""
    outcome = call()
    scale = forms.scale_of(peer, DECAY)
    depth = len(case.sizes) - 1
    gradients = {}
    for k, (name, grad) in enumerate(outcome.gradients.items()):
        # The gradient of a weight passes the surrogates of its own layer and of all later ones.
        factor = peer.GRADIENT.factor ** (depth - k)
        gradients[name] = grad.t() * scale / factor
    return Outcome(outcome.spikes, gradients)


def require_parity(title: str, got: Call, expected: Call) -> None:
    """Check that other code has our spikes and gradients.

    Raises:
        RuntimeError: If it has not, so that no time of it means anything.
    """
    parity = compare_outcomes(got, expected)
    if not parity.agrees:
        raise RuntimeError(
            f"{title} differs from the reference by {parity.spikes_differ} spikes, and in "
            f"gradients by {parity.gradient_error:.1e}: make them equal before measuring."
        )


def loop_call(case: LayerCallCase, x: Tensor, grad: Tensor) -> Call:
    """Return the whole sequence in a plain numba loop."""
    # The decay of the layer, which it computes in float32.
    decay = case.build_layer("auto").constants()[0].detach().flatten()
    loop = plain_loop(decay.expand(case.shape[2]).contiguous().numpy())
    net = Net(lambda: None, loop, trains_input=True)
    return make_call(WHOLE, net, x, grad)


def with_products(case: LayerCallCase, x: Tensor, grad: Tensor) -> Callable[[], object]:
    """Return the call of the layer without recurrence, and the products of the recurrence in torch.

    Step by step, it is the loop that a user would write. A whole sequence cannot be written so; it
    is the call without recurrence, and in addition one product of spikes and weights per step, one
    of gradients and weights per step, and one for the gradient of the weights.
    """
    if case.way != WHOLE:
        return _recurrence_by_hand(case, x, grad)
    feed_forward = LayerCallCase(case.shape, way=case.way)
    layer_call = feed_forward.build_call("auto", x, grad)
    spikes = layer_call().spikes.transpose(0, 1).contiguous()
    weights = case.build_layer("auto").recurrent_weights
    assert weights is not None
    weight = weights.detach()
    T, B, N = spikes.shape
    upstream = torch.randn(T, B, N, generator=torch.Generator().manual_seed(6))
    charge = torch.empty(B, N)
    weight_grad = torch.empty(N, N)

    @torch.no_grad()
    def products() -> None:
        for s in spikes:
            torch.mm(s, weight, out=charge)
        for g in upstream:
            torch.mm(g, weight.t(), out=charge)
        torch.mm(spikes.view(-1, N).t(), upstream.view(-1, N), out=weight_grad)

    def call() -> None:
        layer_call()
        products()

    return call


def _recurrence_by_hand(case: LayerCallCase, x: Tensor, grad: Tensor) -> Call:
    """Return steps of the layer without recurrence; torch adds `spikes @ weights` to the charge."""
    layer = LayerCallCase(case.shape, way=case.way).build_layer("auto")
    weights = case.build_layer("auto").recurrent_weights
    assert weights is not None
    before: list[Tensor] = []

    def reset() -> None:
        prepare_net(layer)
        before[:] = [torch.zeros(case.shape[0], case.shape[2])]

    def forward(charge: Tensor) -> Tensor:
        before[0] = layer.spikes(charge + before[0] @ weights)
        return before[0]

    return make_call(case.way, Net(reset, forward, {"recurrent_weights": weights}, True), x, grad)
