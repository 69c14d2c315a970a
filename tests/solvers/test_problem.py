"""What follows from what a forward pass has saved: records, half the memory, and names of specs."""

from dataclasses import replace

import pytest
import torch

from contract import DT, MORE_NEURONS, NEURONS, SURROGATES
from forked import run_code
from nwavesdk.dynamics import Positive, TimeConstant, decay, held, read_page, spike
from nwavesdk.solvers import (
    PassResult,
    Problem,
    Spec,
    named_value,
    solve,
    spec_name,
    spike_argument,
    state_trajectories,
)
from nwavesdk.solvers.problem import ResultGradient, from_saved_dtype, to_saved_dtype
from nwavesdk.solvers.reference import backward_reference
from nwavesdk.surrogate import available, custom
from oracle import page_function
from solvers.parity import problem, tensors_of

ROWS = NEURONS | MORE_NEURONS


# Records


def run_page(row, charge, states, constants):
    """z and the states after each step, each [B, T, N], by the page itself."""
    arguments = []

    def note(z):
        arguments.append(z)
        return (z > 0).to(z)

    step = page_function(row.page.source, DT, spike=note)
    trajectory = []
    for x in charge.unbind(1):
        states = step(x, *states, **constants)[1:]
        trajectory.append(states)
    z = torch.stack(arguments, 1) if arguments else None
    return z, [torch.stack(after, 1) for after in zip(*trajectory, strict=True)]


@pytest.mark.parametrize("name", ROWS)
def test_a_record_has_z_and_all_states(name):
    row = ROWS[name]
    p = problem(name, "atan", True, torch.float64, 20, 7)
    values = row.page_constants(7, torch.Generator().manual_seed(3))
    p = replace(p, constants=row.neuron.evaluate_constants(values, DT), saves="record")
    saved = solve(p, "reference").saved
    z, trajectories = run_page(row, p.x, p.states, values)
    for got, expected in zip(state_trajectories(p, saved), trajectories, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    if z is not None:
        torch.testing.assert_close(spike_argument(p, saved), z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "value"), [("lif_zero", "u"), ("h1v1", "w"), ("h1v2", "w"), ("adaptive", "u")]
)
def test_a_record_has_the_values_that_the_page_names(name, value):
    p = replace(problem(name, "atan", True, torch.float64, 20, 7), saves="record")
    solution = solve(p, "reference")
    before = torch.cat([p.states[0][:, None], solution.mem[:, :-1]], 1)
    expected = p.constants[0] * before + p.x
    got = named_value(p, solution.saved, value)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


# Half the memory


def refractory(x, v, r, *, tau: TimeConstant, threshold: Positive):
    """Saves two values: one near the threshold, and one that decides about the next step."""
    u = torch.where(r > 0.0, 0.0, decay(tau) * v + x)
    s = spike(u - threshold)
    return s, u * (1 - held(s)), torch.maximum(r - 1.0, 3.0 * s)


def gated(x, v, q, *, tau: TimeConstant, threshold: Positive):
    """Saves one branch of what is compared with the threshold, which does not decide the spike."""
    a = decay(tau) * v + x
    u = torch.where(q > 0.0, a, 1.5 * a)
    s = spike(u - threshold)
    return s, a * (1 - held(s)), 0.5 * q + torch.tanh(a)


PAGES = {page.__name__: read_page(page) for page in (refractory, gated)}
ROUNDED = {**ROWS, **{name: type(NEURONS["lif_zero"])(page) for name, page in PAGES.items()}}
del ROUNDED["readout"]


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize(
    ("name", "surrogate"),
    [*((name, "atan") for name in ROUNDED), *(("lif_zero", kind) for kind in SURROGATES)],
)
def test_bfloat16_keeps_every_spike_and_changes_gradients_little(name, surrogate, learns):
    g = torch.Generator().manual_seed(7)
    row = ROUNDED[name]
    B, T, N = 16, 60, 40
    spec = Spec(neuron=row.neuron, surrogate=SURROGATES[surrogate], saved_dtype="bfloat16")
    p = Problem(
        spec,
        0.6 * torch.randn(B, T, N, generator=g) + 0.1,
        tuple(0.3 * torch.randn(B, N, generator=g) for _ in row.neuron.states),
        tuple(c.float().requires_grad_(learns) for c in row.constants(N, g)),
        saves="learning" if learns else "gradient",
    )
    solution = solve(p, "reference", needs_saved=False)
    stored = to_saved_dtype(p, solution.saved)
    assert {value.dtype for value in stored} == {torch.bfloat16}
    rounded = from_saved_dtype(p, stored)
    spikes = solution.spikes.detach()
    assert torch.equal((spike_argument(p, rounded) > 0).float(), spikes)
    assert 0.02 < float(spikes.mean()) < 0.8
    grads = ResultGradient(
        torch.randn(B, T, N, generator=g), 0.3 * torch.randn(B, T, N, generator=g), p.states
    )
    with torch.no_grad():
        exact, near = (
            tensors_of(backward_reference(p, PassResult(spikes, None, (), values), grads, learns))
            for values in (solution.saved, rounded)
        )
    for i, (a, b) in enumerate(zip(exact, near, strict=True)):
        # Gradients of constants are sums over time, in which much cancels.
        limit = 0.02 if i < 1 + len(p.states) else 0.05
        assert float((a - b).norm()) <= limit * float(a.norm())
    assert not torch.equal(exact[0], near[0])


# Names of specs

NAMES = """
from solvers.test_problem import names_of_catalogue
print(hash("lif_zero"), *names_of_catalogue(), sep="\\n")
"""


def names_of_catalogue():
    """The names of specs with every neuron of the contract and every surrogate by name."""
    specs = [Spec(neuron=row.neuron, surrogate=SURROGATES["atan"]) for row in ROWS.values()]
    specs += [
        Spec(neuron=NEURONS["lif_zero"].neuron, surrogate=kind()) for kind in available().values()
    ]
    return [spec_name(spec) for spec in specs]


def test_a_spec_has_the_same_name_in_every_process(tmp_path):
    """torch keeps compiled code on disk by these names; Python's hashes differ by process."""
    other_hash, *names = run_code(NAMES, tmp_path).stdout.splitlines()
    assert int(other_hash) != hash("lif_zero")
    assert names == names_of_catalogue()
    assert len({*names}) == len(names)


def test_other_specs_have_other_names():
    lif = Spec(neuron=NEURONS["lif_zero"].neuron, surrogate=SURROGATES["atan"])
    others = [
        replace(lif, detach_reset=False),
        replace(lif, max_loop_gain=1.0),
        replace(lif, saved_dtype="bfloat16"),
        replace(lif, surrogate=type(lif.surrogate)(9.0)),
        replace(lif, surrogate=custom(lambda z: 1 / (1 + z * z))),
        replace(lif, surrogate=custom(lambda z: 1 / (2 + z * z))),
    ]
    names = [spec_name(spec) for spec in (lif, *others)]
    assert len({*names}) == len(names)
    assert spec_name(replace(lif)) == names[0]
