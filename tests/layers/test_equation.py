"""Layers that `neuron` makes: what they promise beyond their numbers, which `tests/solvers` has."""

import inspect
import math
import pickle
import warnings

import pytest
import torch

from forked import run_code
from layers.nets import drive, run
from layers.pages import AdaptiveLayer, ChargedLayer, LILayer, NoHeldLayer
from nwavesdk.layers import (
    NeuronLayer,
    PageError,
    Real,
    TimeConstant,
    decay,
    neuron,
    prepare_net,
    solved,
    to_gpu,
)
from nwavesdk.surrogate import atan
from tolerances import GRADIENT, assert_close


def adaptive_in_torch(x, tau, tau_a, threshold, kappa, surrogate, detach_reset=True):
    """The equation of `AdaptiveLayer` as a loop that shares no code with the package's."""
    decay_v, decay_a = torch.exp(-1e-3 / tau), torch.exp(-1e-3 / tau_a)
    v = a = torch.zeros_like(x[:, 0])
    steps = []
    for charge in x.unbind(1):
        u = decay_v * v + charge
        z = u - threshold - kappa * a
        s = surrogate(z)
        v = u - threshold * (s.detach() if detach_reset else s)
        a = decay_a * a + (1 - decay_a) * s
        steps.append((s, v, a, u, z))
    return [torch.stack(sequence, 1) for sequence in zip(*steps, strict=True)]


# In another process: read a layer and its input, and write its outputs.
CALL = """
import pickle, sys
from pathlib import Path
import torch
assert "layers.pages" not in sys.modules
layer, x = pickle.loads(Path("layer").read_bytes())
outputs = [output.detach().numpy() for output in layer(torch.from_numpy(x))]
Path("outputs").write_bytes(pickle.dumps(outputs))
"""


class TestClass:
    def test_it_is_a_layer_with_the_name_of_its_function(self):
        assert issubclass(AdaptiveLayer, NeuronLayer)
        assert AdaptiveLayer.__name__ == AdaptiveLayer.__qualname__ == "AdaptiveLayer"
        assert AdaptiveLayer.__module__ == "layers.pages"
        assert AdaptiveLayer.page.neuron.states == ("v", "a")

    def test_its_signature_has_constants_and_keywords(self):
        parameters = inspect.signature(AdaptiveLayer).parameters
        assert list(parameters) == [
            *("n_neurons", "tau", "tau_a", "threshold", "kappa", "learn", "dt", "spike_grad"),
            *("layer_topology", "device", "detach_reset", "solver", "compasso_spike_grad"),
            *("saved_dtype", "recurrent_delays"),
        ]
        assert parameters["tau_a"].default == 0.1
        assert parameters["detach_reset"].default is True
        assert inspect.signature(ChargedLayer).parameters["tau"].default is inspect.Parameter.empty
        assert "dt" in inspect.signature(ChargedLayer).parameters
        assert not {"spike_grad", "detach_reset"} & {*inspect.signature(LILayer).parameters}

    def test_its_docstring_has_the_equation_and_the_arguments(self):
        text = AdaptiveLayer.__doc__
        assert text.startswith("A leaky neuron whose threshold rises with its spikes.\n")
        assert text.count("A leaky neuron") == 1
        assert "        s = spike(u - threshold - kappa * a)\n" in text
        assert "    kappa: Real = 0.3" in text
        assert "learn: Names of the constants to train" in text

    def test_print_shows_shape_constants_and_equation(self):
        layer = AdaptiveLayer(3, tau=[0.01, 0.02, 0.03], learn=("kappa", "tau_a"))
        assert str(layer).splitlines() == [
            "AdaptiveLayer(",
            "  3, tau=0.01…0.03, tau_a=0.1 (learned), threshold=1, kappa=0.3 (learned), dt=0.001, "
            "spike_grad=FastSigmoid(slope=25.0)",
            "  u = decay(tau) * v + x",
            "  s = spike(u - threshold - kappa * a)",
            "  return s, u - threshold * held(s), decay(tau_a) * a + (1 - decay(tau_a)) * s",
            ")",
        ]
        assert "# The current decays by Euler's method." in str(ChargedLayer(2, tau=0.01))
        assert "spike_grad" not in str(LILayer(2))

    def test_instances_hold_no_function(self):
        layer = AdaptiveLayer(3, solver="reference")
        run(layer, drive(2, 5, 3))
        assert not [name for name, value in vars(layer).items() if inspect.isroutine(value)]


class TestCopies:
    def layer_with_state(self):
        options = {"layer_topology": "RC", "solver": "reference"}
        layer = AdaptiveLayer(3, tau=[0.01, 0.02, 0.03], learn="kappa", **options)
        run(layer, drive(2, 12, 3))
        return layer

    def test_another_process_reads_a_pickle(self, tmp_path):
        layer, x = self.layer_with_state(), drive(2, 9, 3)
        (tmp_path / "layer").write_bytes(pickle.dumps((layer, x.numpy())))
        run_code(CALL, tmp_path)
        spk, mem = pickle.loads((tmp_path / "outputs").read_bytes())
        expected = layer(x)
        assert torch.equal(torch.from_numpy(spk), expected[0])
        assert torch.equal(torch.from_numpy(mem), expected[1])

    def test_a_local_class_pickles_as_little_as_any_local_class(self):
        @neuron
        def LocalLayer(x, v):
            return v + x

        assert LocalLayer.__qualname__.endswith("<locals>.LocalLayer")
        with pytest.raises((pickle.PicklingError, AttributeError), match="LocalLayer"):
            pickle.dumps(LocalLayer(2))

    @pytest.mark.parametrize("wide", [False, True])
    def test_a_state_dict_makes_another_layer_the_same(self, wide):
        options = {"tau": 5e-3, "tau_a": 0.3, "threshold": 0.7, "kappa": -0.2}
        source = AdaptiveLayer((2, 3), **options, solver="reference")
        target = AdaptiveLayer((2, 3), learn="tau", solver="reference")
        assert {*source.state_dict()} == {"log_tau", "log_tau_a", "log_threshold", "kappa"}
        x = drive(4, 30, 2, 3)
        if wide:
            source.double(), target.double()
            x = x.double()
        target.load_state_dict(source.state_dict())
        # float64: the source has what was given, the target what float32 stores of it.
        expected, got = run(source, x), run(target, x)
        assert torch.equal(got[0], expected[0])
        torch.testing.assert_close(got[1], expected[1], rtol=1e-5, atol=1e-6)
        assert 0 < expected[0].mean() < 1


class TestRun:
    @pytest.mark.parametrize(
        ("solver", "detach_reset"), [("serial", True), ("reference", True), ("reference", False)]
    )
    def test_it_computes_the_equation_and_the_gradients_of_all_constants(
        self, solver, detach_reset
    ):
        values = {
            "tau": torch.linspace(5e-3, 20e-3, 12, dtype=torch.float64).reshape(3, 2, 2),
            "tau_a": torch.tensor([0.03, 0.1, 0.3], dtype=torch.float64).reshape(3, 1, 1),
            "threshold": torch.tensor(0.9, dtype=torch.float64),
            "kappa": torch.tensor(0.4, dtype=torch.float64),
        }
        layer = AdaptiveLayer(
            (3, 2, 2),
            **values,
            learn=[*values],
            spike_grad=atan(),
            solver=solver,
            detach_reset=detach_reset,
        ).double()
        x, other = (drive(2, 40, 3, 2, 2).double().requires_grad_() for _ in range(2))
        other.data.copy_(x.data)
        leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
        spk, mem = run(layer, x)
        s, v, *_ = adaptive_in_torch(other, **leaves, surrogate=atan(), detach_reset=detach_reset)
        assert layer.last_solver == solver
        assert torch.equal(spk, s)
        assert 0.02 < s.mean() < 0.98
        torch.testing.assert_close(mem, v, rtol=0, atol=1e-12)
        weight = torch.randn(spk.shape, dtype=torch.float64)
        for a, b in ((spk, mem), (s, v)):
            (weight * (a + 0.3 * b)).sum().backward()
        assert_close(x.grad, other.grad, GRADIENT, "charge")
        for name, leaf in leaves.items():
            # A positive constant is stored as its logarithm.
            stored = getattr(layer, name if name == "kappa" else f"log_{name}").grad
            expected = leaf.grad if name == "kappa" else leaf.grad * values[name]
            assert_close(stored, expected, GRADIENT, name)

    def test_states_start_at_their_defaults_and_dt_is_the_layer_s(self):
        layer = ChargedLayer(2, tau=10e-3, dt=2e-3, solver="reference")
        prepare_net(layer)
        assert layer.state is None
        record = layer.record(torch.zeros(1, 2, 2, dtype=torch.float64))
        i, v = 0.25, -0.5
        for t in range(2):
            i = i - 2e-3 * 50.0 * i
            v = max(math.exp(-0.2) * v + i, -1.0)
            assert record.states["i"][0, t].tolist() == pytest.approx([i, i], abs=1e-12)
            assert record.mem[0, t].tolist() == pytest.approx([v, v], abs=1e-12)


class TestReadout:
    def test_it_returns_its_first_state_twice(self):
        layer, x = LILayer(3), drive(2, 20, 3)
        spk, mem = run(layer, x)
        assert spk is mem
        prepare_net(layer)
        assert torch.equal(layer.spikes(x), mem)
        assert not hasattr(mem, "nonzeros")

    def test_its_gradient_is_that_of_one_output(self, solver):
        layer, x = LILayer(3, solver=solver, learn="tau"), drive(2, 20, 3).requires_grad_()
        spk, mem = run(layer, x)
        (spk.sum() + mem.sum()).backward()
        beta, steps = torch.exp(torch.tensor(-0.05)), torch.arange(20)
        expected = 2 * (1 - beta ** (20 - steps)) / (1 - beta)
        torch.testing.assert_close(x.grad, expected[None, :, None].expand_as(x), rtol=1e-5, atol=0)
        assert layer.log_tau.grad.abs() > 0

    def test_a_record_has_its_states_and_no_z(self):
        layer, x = LILayer(3), drive(2, 20, 3)
        prepare_net(layer)
        record = layer.record(x)
        assert record.is_readout
        assert torch.equal(record.states["v"], record.mem)
        with pytest.raises(ValueError, match="LILayer is a read-out, .* no z: read mem"):
            _ = record.z
        grad, _ = record.charge_gradient(torch.ones_like(x))
        leaf = x.clone().requires_grad_()
        run(layer, leaf)[0].sum().backward()
        assert_close(grad, leaf.grad, GRADIENT, "charge")


class TestRecord:
    def test_it_has_the_dtype_of_its_charge(self, solver):
        layer, x = AdaptiveLayer(3, solver=solver), drive(2, 30, 3).bfloat16()
        values = []
        for charge in (x, x.float()):
            prepare_net(layer)
            record = layer.record(charge)
            values.append([record.spk, record.mem, record.z, record.u, *record.states.values()])
        assert all(torch.equal(a, b.bfloat16()) for a, b in zip(*values, strict=True))

    def test_one_step_has_the_shape_of_its_charge(self):
        layer = AdaptiveLayer((2, 3))
        prepare_net(layer)
        record = layer.record(drive(4, 2, 3))
        assert record.z.shape == record.states["a"].shape == record.u.shape == (4, 2, 3)

    def test_a_page_without_u_has_none(self):
        layer = ChargedLayer(2, tau=10e-3, solver="reference")
        prepare_net(layer)
        record = layer.record(drive(1, 5, 2))
        assert not hasattr(record, "u")
        with pytest.raises(
            AttributeError, match="the page of ChargedLayer names no value u: read z"
        ):
            _ = record.u


class TestOptions:
    def test_the_gpu_solver_is_serial_and_keeps_the_surrogate(self):
        x = drive(2, 20, 3)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            layers = [AdaptiveLayer(3, spike_grad=atan(), device=d) for d in ("cpu", "gpu")]
            layers.append(to_gpu(AdaptiveLayer(3, spike_grad=atan())))
        grads = []
        for layer in layers:
            leaf = x.clone().requires_grad_()
            run(layer, leaf)[0].sum().backward()
            assert layer.last_solver == "serial"
            assert layer.uses_spike_grad
            grads.append(leaf.grad)
        assert torch.equal(grads[0], grads[1])
        assert torch.equal(grads[0], grads[2])

    @pytest.mark.parametrize("device", ["cpu", "gpu"])
    def test_without_a_kernel_the_torch_loop_runs_and_the_layer_says_so(
        self, topology, device, monkeypatch
    ):
        # As on CUDA tensors, where recurrent layers have no kernel.
        monkeypatch.setattr(solved, "has_serial_kernel", lambda _, recurrent: not recurrent)
        layer = AdaptiveLayer(3, layer_topology=topology, device=device, spike_grad=atan())
        run(layer, drive(2, 20, 3))
        assert layer.last_solver == {"FF": "serial", "RC": "reference"}[topology]


WRONG = [
    (
        lambda: AdaptiveLayer(3, tau_b=0.1),
        TypeError,
        "AdaptiveLayer has the constants tau, tau_a, threshold, kappa, got an argument 'tau_b', "
        r"did you mean 'tau_a'\?",
    ),
    (
        lambda: AdaptiveLayer(3, max_loop_gain=None),
        TypeError,
        "got an argument 'max_loop_gain': remove it; only LIF and chip layers bound",
    ),
    (
        lambda: ChargedLayer(3),
        TypeError,
        r"the constant tau has no default: pass it, as in ChargedLayer\(n_neurons, tau=...\)",
    ),
    (
        lambda: AdaptiveLayer(3, learn="tau_b"),
        ValueError,
        r"learn must name constants of the neuron \(tau, tau_a, threshold, kappa\), got 'tau_b', "
        r"did you mean 'tau_a'\?",
    ),
    (
        lambda: AdaptiveLayer(3, learn=("tau", 3)),
        ValueError,
        r"learn must name constants .*got 3\.",
    ),
    (lambda: AdaptiveLayer(3, learn=True), ValueError, "or a tuple of names, got True"),
    (
        lambda: AdaptiveLayer((3, 2, 2), tau=[1e-3, 2e-3, 3e-3]),
        ValueError,
        r"tau must be one number or have the shape \[3, 2, 2\] of the neurons, got the shape \[3\]"
        r": pass a number, or one per channel in the shape \[3, 1, 1\]",
    ),
    (lambda: AdaptiveLayer(3, tau=0.0), ValueError, r"tau must be finite and above 0 \[s\], got 0"),
    (
        lambda: AdaptiveLayer(3, threshold=-1),
        ValueError,
        "threshold must be finite and above 0, got",
    ),
    (lambda: AdaptiveLayer(3, kappa=float("nan")), ValueError, "kappa must be finite, got nan"),
    (
        lambda: ChargedLayer(3, tau=0.1, rate=200.0),
        ValueError,
        "rate must be finite and above 0 and below 200, got 200",
    ),
    (
        lambda: ChargedLayer(3, tau=0.1, rate=200 - 1e-9),
        ValueError,
        "numbers that float32 can store",
    ),
    (
        lambda: AdaptiveLayer(3, solver="compasso"),
        ValueError,
        'AdaptiveLayer: comPaSSo is not exact for this neuron, got solver="compasso": use',
    ),
    (
        lambda: NoHeldLayer(3, detach_reset=False),
        ValueError,
        r"NoHeldLayer: detach_reset=False needs held\(...\) in the page",
    ),
    (
        lambda: LILayer(3, spike_grad=atan()),
        ValueError,
        r"LILayer is a read-out, without spikes, and takes no spike_grad, got ATan\(.*remove it",
    ),
    (
        lambda: AdaptiveLayer(3).constant("tau_b"),
        ValueError,
        "has the constants tau, tau_a, threshold, kappa, got 'tau_b', did you mean 'tau_a'",
    ),
]


@pytest.mark.parametrize(("make", "error", "words"), WRONG, ids=[w[:50] for *_, w in WRONG])
def test_wrong_arguments(make, error, words):
    with pytest.raises(error, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


class TestNames:
    @pytest.mark.parametrize(
        "name", ["learn", "training", "features", "state", "dt", "self", "_tau"]
    )
    def test_a_constant_named_like_a_keyword_or_an_attribute_is_rejected(self, name):
        with pytest.raises(PageError, match=f"the constant {name} has a name that .*rename it"):
            layer_with_constant(name)

    def test_two_constants_under_one_key_are_rejected(self):
        def TwiceLayer(x, v, *, tau: TimeConstant = 1.0, log_tau: Real = 1.0):
            return decay(tau) * v + log_tau * x

        with pytest.raises(PageError, match="constant tau is stored as log_tau, which is another"):
            neuron(TwiceLayer)

    @pytest.mark.parametrize("make", [AdaptiveLayer, LILayer])
    def test_no_attribute_of_a_layer_is_free(self, make):
        layer = make(3)
        prepare_net(layer)
        for name in vars(layer):
            if not name.startswith("_"):
                with pytest.raises(PageError, match="rename it"):
                    layer_with_constant(name)


def layer_with_constant(name):
    """The layer of a page with a constant of this name."""
    import linecache

    source = f"def Page(x, v, *, {name}: Real = 1.0):\n    return v + {name} * x\n"
    linecache.cache["<page>"] = (len(source), None, source.splitlines(keepends=True), "<page>")
    scope = {"Real": Real}
    exec(compile(source, "<page>", "exec"), scope)
    return neuron(scope["Page"])
