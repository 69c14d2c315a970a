"""comPaSSo proves the spikes of the serial pass, whatever the neuron, the drive, the decay and the guess."""

import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import NEURONS, SURROGATES
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net, to_cpu, to_gpu
from nwavesdk.solvers import Problem, Spec, choose_solver, solve
from nwavesdk.solvers.cpu.serial import forward_cpu
from nwavesdk.solvers.parallel.chunks import Effort, chunk_length, forward_chunks
from nwavesdk.solvers.parallel.iteration import forward_iteration, forward_jump, rounding_bound
from nwavesdk.surrogate import atan, fast_sigmoid
from solvers.test_parity import compare, gradients, leaves
from tolerances import GRADIENT, assert_close

NAMES = [name for name, row in NEURONS.items() if row.neuron.carry is not None]
DRIVES = [
    "gaussian",
    "poisson 1 %",
    "poisson 30 %",
    "poisson 90 %",
    "constant",
    "noisy constant",
    "bursts",
    "silence",
]
BETAS = [0.5, 0.9, 0.99, 0.999]


def drive(kind: str, B: int, T: int, N: int, beta: float, dtype: torch.dtype) -> torch.Tensor:
    """Charge [B, T, N] that makes neurons of that decay spike now and then; `constant` makes them spike regularly."""
    g = torch.Generator().manual_seed(T + N)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=dtype)

    noise = 0.5 * (1 - beta) + 1.5 * (1 - beta**2) ** 0.5 * normal(B, T, N)
    level = (1 - beta) * (0.2 + 4 * torch.rand(B, 1, N, generator=g, dtype=dtype))
    if kind.startswith("poisson"):
        share = float(kind.split()[1]) / 100
        spikes = (torch.rand(B, T, N, generator=g) < share).to(dtype)
        return spikes * (1 - beta) * 1.5 / share**0.5
    return {
        "gaussian": noise,
        "constant": level.expand(B, T, N).contiguous(),
        "noisy constant": level * (1 + 0.05 * normal(B, T, N)),
        "bursts": 2 * noise * (torch.arange(T) % 300 < 60).to(dtype)[:, None],
        "silence": torch.zeros(B, T, N, dtype=dtype),
    }[kind]


def problem(name: str, x: torch.Tensor, beta: float, start: float = 0.0) -> Problem:
    N = x.shape[2]
    constants = torch.full((N,), beta, dtype=x.dtype), torch.ones(N, dtype=x.dtype)
    return Problem(
        Spec(NEURONS[name].neuron, SURROGATES["atan"]),
        x,
        (x.new_full((len(x), N), start),),
        constants,
    )


def assert_proven(p: Problem, **options) -> Effort:
    """In chunks, the spikes are those of the serial pass; where chunks agreed or ended serially, all is, to the bit."""
    efforts: list[Effort] = []
    expected, got = forward_cpu(p), forward_chunks(p, efforts=efforts, **options)
    assert torch.equal(got.spikes, expected.spikes)
    (effort,) = efforts
    pairs = [
        (got.mem, expected.mem),
        (got.saved[0], expected.saved[0]),
        (got.last[0], expected.last[0]),
    ]
    if not effort.bracketed:
        assert all(torch.equal(a, b) for a, b in pairs)
    else:
        largest = 1 + float(expected.mem.abs().max())
        width = 64 * torch.finfo(p.x.dtype).eps * largest / (1 - float(p.constants[0].max()))
        assert all(float((a - b).abs().max()) < width for a, b in pairs)
    return effort


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("name", NAMES)
def test_spikes_are_the_serial_ones_for_every_drive(name, beta):
    for kind in DRIVES:
        for dtype in (torch.float32, torch.float64):
            p = problem(name, drive(kind, 2, 2003, 9, beta, dtype), beta, start=0.3)
            assert_proven(p)
            assert_proven(p, steps=50)


@pytest.mark.parametrize("name", NAMES)
def test_long_sequences(name):
    for beta in (0.9, 0.99):
        effort = assert_proven(
            problem(name, drive("gaussian", 1, 20_000, 8, beta, torch.float32), beta)
        )
        assert effort.chunks > 8
        assert effort.serial == 0
        assert effort.depth < 20_000 / (20 if beta == 0.9 else 2)


@st.composite
def hunts(draw):
    """Problems with membranes on the threshold: charges from a coarse lattice, thresholds and decays that hit it."""
    name, beta = (
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from([0.25, 0.5, 0.75, 0.9, 0.97, 0.999])),
    )
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    T, N, seed = draw(st.integers(8, 400)), draw(st.integers(1, 5)), draw(st.integers(0, 2**31))
    g = torch.Generator().manual_seed(seed)
    scale = draw(st.sampled_from([1, 2, 4, 10, 1 / (1 - beta)]))
    x = torch.randint(-2, 5, (draw(st.integers(1, 3)), T, N), generator=g).to(dtype) / scale
    return (
        problem(name, x, beta, start=draw(st.sampled_from([0.0, 1.0, -0.5]))),
        draw(st.integers(1, T)),
        seed,
    )


@settings(max_examples=1500, deadline=None)
@given(hunts())
def test_no_counter_example_is_found(hunt):
    p, steps, seed = hunt
    g = torch.Generator().manual_seed(seed)
    count = -(-p.x.shape[1] // steps)
    assert_proven(p, steps=steps)
    if count > 1:  # a wild guess costs passes, not spikes
        wild = 3 * torch.randn(len(p.x), count - 1, p.x.shape[2], generator=g, dtype=p.x.dtype)
        assert_proven(p, steps=steps, entries=wild, passes=2 + seed % 5)


@pytest.mark.parametrize("name", NAMES)
def test_guesses_that_are_no_numbers_and_charges_that_are_not_finite(name):
    x = drive("gaussian", 2, 300, 4, 0.9, torch.float32)
    for entries in (torch.full((2, 5, 4), torch.nan), torch.full((2, 5, 4), torch.inf)):
        assert_proven(problem(name, x, 0.9), steps=50, entries=entries)
    for value in (torch.inf, -torch.inf, torch.nan):
        x[1, 77, 2] = value
        p = problem(name, x, 0.9)
        got, expected = forward_chunks(p, steps=50), forward_cpu(p)
        assert torch.equal(got.spikes, expected.spikes)
        assert torch.equal(got.mem.nan_to_num(), expected.mem.nan_to_num())


def test_a_bracket_that_straddles_the_threshold_proves_nothing():
    """Two membranes a rounding apart, one on each side: only the serial pass can tell, and does."""
    above = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    x = torch.zeros(1, 400, 2)
    x[:, 0], x[0, 200:, 0], x[0, 200:, 1] = 0.3, 1.0, above
    for beta in (0.99, 0.999):
        assert_proven(problem("lif_none", x, beta), steps=20)


def test_neurons_that_fire_regularly_are_left_to_the_serial_solver_soon():
    p = problem("lif_subtraction", drive("constant", 1, 8000, 16, 0.9, torch.float32), 0.9)
    effort = assert_proven(p)
    assert effort.serial > 0
    assert effort.depth < 1.1 * 8000


@pytest.mark.parametrize("name", ["lif_none", "lif_subtraction", "lif_zero"])
def test_what_follows_the_last_whole_chunk_is_proven_too(name):
    """A last charge that lands on the threshold, on one side for the serial membrane, on the other a rounding off."""
    beta, T = 0.999, 64 * 12 + 63
    differ = 0
    for seed in range(8):
        x = 0.03 * torch.randn(1, T, 256, generator=torch.Generator().manual_seed(seed))
        x[:, -1] = 0
        p = problem(name, x, beta)
        exact, near = forward_cpu(p).mem[:, -2], forward_chunks(p, steps=64).mem[:, -2]
        for k in range(-4, 5):
            charge = 1 - beta * exact + k * 6e-8
            sides = [(p.constants[0] * v + charge - 1) > 0 for v in (exact, near)]
            x[:, -1] = torch.where(sides[0] != sides[1], charge, x[:, -1])
        differ += int((x[:, -1] != 0).sum())
        assert_proven(problem(name, x, beta), steps=64)
    assert differ > 0


def test_what_a_pass_takes_is_counted():
    x = drive("gaussian", 2, 803, 3, 0.5, torch.float32)
    effort = assert_proven(problem("lif_zero", x, 0.5), steps=100)
    assert (effort.chunks, effort.steps, effort.serial) == (9, 100, 0)
    assert effort.depth == 100 * effort.passes
    assert effort.work <= 900 * 6 * effort.passes


@pytest.mark.parametrize("name", NAMES)
def test_jumps_end_in_the_serial_spikes(name):
    for kind in ("gaussian", "noisy constant", "silence"):
        p = problem(name, drive(kind, 2, 600, 5, 0.95, torch.float32), 0.95, start=0.2)
        scans: list[int] = []
        got, expected = forward_jump(p, steps=60, iterates=scans), forward_cpu(p)
        assert torch.equal(got.spikes, expected.spikes)
        assert (
            scans[0]
            <= int(expected.spikes[:, :540].view(2, 9, 60, 5).sum(2).amax((0, 2)).sum()) + 2 * 9
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", DRIVES)
def test_the_iteration_differs_first_within_rounding_of_the_threshold(name, kind):
    for beta in (0.5, 0.9, 0.99):
        p = problem(name, drive(kind, 2, 300, 8, beta, torch.float32), beta)
        got, expected = forward_iteration(p), forward_cpu(p)
        wrong = got.spikes != expected.spikes
        first = wrong & (wrong.cumsum(1) == 1)
        distance = (expected.saved[0] - 1).abs()
        assert bool((distance <= rounding_bound(p))[first].all())
        double = replace(p, x=p.x.double(), states=tuple(v.double() for v in p.states),
                         constants=tuple(c.double() for c in p.constants))  # fmt: skip
        assert (
            float((forward_iteration(double).spikes != forward_cpu(double).spikes).double().mean())
            == 0
        )


@pytest.mark.parametrize("solver", ["compasso", "compasso-jump", "compasso-iteration"])
@pytest.mark.parametrize("detach", [True, False], ids=["detached", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_every_form_is_the_reference(name, detach, solver):
    for T in (0, 1, 100, 1030):
        p = problem(name, drive("gaussian", 2, T, 5, 0.8, torch.float64), 0.8, start=0.1)
        compare(replace(p, spec=replace(p.spec, detach_reset=detach)), solver)


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_in_chunks_is_the_serial_one(name, surrogate):
    for dtype, T, upstream in (
        (torch.float64, 900, "dense"),
        (torch.float32, 1019, "expanded"),
    ):  # whole chunks, and not
        p = problem(name, drive("gaussian", 2, T, 7, 0.9, dtype), 0.9, start=0.1)
        p = replace(p, spec=replace(p.spec, surrogate=SURROGATES[surrogate]))
        a, b = leaves(p), leaves(p)
        pair = [gradients(q, solve(q, s), upstream) for q, s in ((a, "serial"), (b, "compasso"))]
        for k, (expected, got) in enumerate(zip(*pair, strict=True)):
            scale = T if k >= len(pair[0]) - len(p.constants) else 1  # sums over time
            assert_close(got / scale, expected / scale, GRADIENT, f"gradient {k}")


def test_a_gradient_that_grows_beyond_bounds_is_left_to_the_serial_adjoint():
    """At rest just below the threshold the gradient through the reset grows with every step, where it is not zero."""
    found = []
    for solver in ("serial", "compasso"):
        layer = LIFLayer(
            3, 20e-3, thresholds=3.0, solver=solver, spike_grad=fast_sigmoid(), detach_reset=False
        )
        prepare_net(layer)
        x = torch.full((1, 1024, 3), 3 * (1 - float(layer.constants()[0][0])) - 1e-4)
        x[:, 0] = 3 - 1e-3
        x.requires_grad_()
        _, mem = layer(x)
        mem[:, :20].sum().backward()
        found.append(x.grad)
    assert bool(found[1].isfinite().all())
    assert_close(found[1], found[0], GRADIENT, "gradient")


def test_chunks_divide_the_sequence_where_they_can():
    assert chunk_length(20_000, 0.9) * (20_000 // chunk_length(20_000, 0.9)) == 20_000
    assert chunk_length(300, 0.9) == 300  # too short to cut
    assert chunk_length(9973, 0.5) == 64  # a prime: the rest follows serially
    assert chunk_length(100_000, 0.99) > chunk_length(100_000, 0.9)
    assert chunk_length(0, 0.0) == 0


class TestChoice:
    def test_few_neurons_and_many_steps_are_cut_and_many_neurons_are_not(self):
        assert choose_solver("cuda", "h1v1", 1, 100_000, 0.9) == "compasso"
        assert choose_solver("cuda", "lif_zero", 1 << 20, 1000, 0.9) == "serial"
        assert choose_solver("cuda", "lif_zero", 64, 100, 0.9) == "serial"
        assert choose_solver("cpu", "lif_zero", 64 * 512, 1000, 0.9) == "serial"

    @pytest.mark.parametrize(
        "solver", ["auto", "serial", "compasso", "compasso-jump", "compasso-iteration"]
    )
    def test_can_be_read_and_forced(self, solver):
        layer = LIFLayer(3, 10e-3, device="gpu", solver=solver)
        assert layer.last_solver is None
        prepare_net(layer)
        layer(torch.rand(2, 900, 3))
        assert layer.last_solver == (
            choose_solver("cpu", "lif_subtraction", 6, 900, layer._slowest_decay)
            if solver == "auto"
            else solver
        )

    def test_a_streamed_sequence_is_the_whole_one(self):
        layer, x = LIFLayer(4, 10e-3, solver="compasso"), 2 * torch.rand(2, 2000, 4)
        prepare_net(layer)
        whole, _ = layer(x)
        prepare_net(layer)
        assert torch.equal(torch.cat([layer(part)[0] for part in x.split(700, 1)], 1), whole)


@pytest.mark.parametrize("solver", ["auto", "compasso", "compasso-jump"])
def test_a_compiled_net_is_the_same_at_every_length(solver):
    torch._dynamo.reset()
    options = {"device": "gpu", "solver": solver}
    net = SpikingSequential(
        LIFSynapse(5, 8),
        LIFLayer(8, 10e-3, **options),
        LIFSynapse(8, 2),
        LIFLayer(2, 10e-3, **options),
    )
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for T in (700, 900, 60):
        found = []
        for f in (net, compiled):
            x = torch.rand(3, T, 5, generator=torch.Generator().manual_seed(T)).requires_grad_()
            prepare_net(net)
            spk, _ = f(x)
            spk.sum().backward()
            found.append((spk, x.grad))
        assert all(map(torch.equal, *found))


class TestPorting:
    def net(self):
        torch.manual_seed(0)
        return SpikingSequential(
            LIFSynapse(6, 12), LIFLayer(12, 10e-3, solver="auto", compasso_spike_grad="layer", spike_grad=atan()),
            LIFSynapse(12, 3), LIFLayer(3, 10e-3, compasso_spike_grad="layer", spike_grad=atan()),
        )  # fmt: skip

    def test_the_same_weights_on_both_sides(self):
        net = self.net()
        there = to_gpu(self.net())
        assert [layer.device for layer in (there[1], there[3])] == ["gpu", "gpu"]
        there.load_state_dict(net.state_dict())
        assert list(there.state_dict()) == list(net.state_dict())
        assert to_cpu(there) is there
        assert there[1].device == "cpu"

    def test_equal_spikes_and_training_curves_where_the_surrogate_is_the_same(self, monkeypatch):
        monkeypatch.setattr("nwavesdk.layers.neuron.choose_solver", lambda *_: "compasso")
        curves = []
        for move in (to_cpu, to_gpu):
            net = move(self.net()).double()
            optimizer = torch.optim.SGD(net.parameters(), 0.05)
            g = torch.Generator().manual_seed(1)
            losses, spikes = [], []
            for _ in range(4):
                x = (torch.rand(3, 600, 6, generator=g) < 0.2).double()
                prepare_net(net)
                spk, mem = net(x)
                loss = mem.square().mean() + spk.mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
                spikes.append(spk)
            assert net[1].last_solver == ("serial" if move is to_cpu else "compasso")
            curves.append((losses, spikes))
        assert curves[0][0] == pytest.approx(curves[1][0], rel=1e-12)
        assert all(map(torch.equal, curves[0][1], curves[1][1]))

    def test_a_recurrent_layer_stays_and_nothing_else_moves(self):
        net = SpikingSequential(LIFLayer(3, 10e-3), LIFLayer(3, 10e-3, layer_topology="RC"))
        with pytest.raises(
            ValueError, match=r'comPaSSo runs feed-forward layers only.*use device="cpu"'
        ):
            to_gpu(net)
        assert net[0].device == "cpu"

    def test_moving_tells_of_another_gradient_and_takes_it(self):
        layer = LIFLayer(3, 10e-3, spike_grad=atan())
        prepare_net(layer)
        with pytest.warns(UserWarning, match=r"fast_sigmoid\(25\) and spike_grad=ATan"):
            to_gpu(layer)
        x = torch.rand(2, 20, 3, requires_grad=True)
        layer(x)[0].sum().backward()
        expected = LIFLayer(3, 10e-3, spike_grad=fast_sigmoid())
        prepare_net(expected)
        y = x.detach().requires_grad_()
        expected(y)[0].sum().backward()
        assert torch.equal(x.grad, y.grad)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            to_gpu(layer)  # told already

    def test_moving_in_the_middle_of_a_sequence_chooses_as_from_the_start(self):
        layer, other = LIFLayer(3, 10e-3), LIFLayer(3, 10e-3, device="gpu")
        prepare_net(layer)
        prepare_net(other)
        assert to_gpu(layer)._slowest_decay == other._slowest_decay > 0.9
