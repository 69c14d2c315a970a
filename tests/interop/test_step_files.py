"""Steps as files: read where only torch is, run by onnxruntime, or refused by name."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interop.step_nets import NETS, firing_net
from nwavesdk.interop.step import StepNet, compare_steps
from nwavesdk.interop.step_files import (
    describe_step,
    onnx_bytes,
    read_onnx,
    read_torch,
    sample_bytes,
    torch_bytes,
)
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from tolerances import STATE, assert_close

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
# Before the code of the page: an import of these fails. After it: its outputs are stored.
BEFORE = "import sys; sys.modules['nwavesdk'] = sys.modules['numba'] = None"
AFTER = "torch.save(torch.stack([out for (out,) in outputs], 1), 'y.pt')"


def test_a_program_runs_in_a_process_that_has_only_torch(tmp_path: Path) -> None:
    net, shape = firing_net("recurrent")
    step = StepNet(net, shape)
    (tmp_path / "net.pt2").write_bytes(torch_bytes(step, {"dt": 1e-3}))
    x = 2 * torch.rand(3, 40, *shape)
    torch.save(x, tmp_path / "x.pt")
    code = re.search(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)[1]
    program = "\n".join([BEFORE, code, AFTER])
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, cwd=tmp_path)
    prepare_net(net)
    with torch.no_grad():
        expected = net(x)[0]
    assert expected.any()
    assert_close(torch.load(tmp_path / "y.pt"), expected, STATE, "a program of torch")


def test_a_file_describes_itself() -> None:
    step = StepNet(*firing_net("zoo"))
    about = json.loads(json.dumps(describe_step(step, {"dt": 1e-3})))
    assert about["dt"] == 1e-3
    assert about["input"] == [5]
    assert about["outputs"] == ["spk", "mem"]
    expected = {"name": "6.v", "shape": [8], "initial": -65.0, "dtype": "float32"}
    assert about["states"][-2] == {**expected, "has_batch": True}


class DependsOnValues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if x.sum() > 0 else x


def test_what_cannot_be_exported_is_refused_by_name() -> None:
    net = SpikingSequential(LIFSynapse(3, 4), DependsOnValues(), LIFLayer(4, taus=10e-3))
    words = r"step: module '1' \(DependsOnValues\) cannot be exported \(.*expected modules"
    with pytest.raises(ValueError, match=words):
        torch_bytes(StepNet(net, (3,)), {})


@torch.library.custom_op("nwavesdk_test::twice", mutates_args=())
def _twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


_twice.register_fake(torch.empty_like)


class OwnOperator(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _twice(x)


def test_an_operator_that_torch_lacks_is_refused_by_name() -> None:
    net = SpikingSequential(LIFSynapse(3, 4), OwnOperator(), LIFLayer(4, taus=10e-3))
    words = r"module '1' \(OwnOperator\) cannot be exported \(it runs the operator nwavesdk_test"
    with pytest.raises(ValueError, match=words):
        torch_bytes(StepNet(net, (3,)), {})


@pytest.mark.interop
def test_onnxruntime_runs_a_graph_as_the_net_does() -> None:
    import onnx

    net, shape = firing_net("recurrent")
    step = StepNet(net, shape)
    content = onnx_bytes(step, {"dt": 1e-3})
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    graph = onnx.load_from_string(content).graph
    assert [value.name for value in graph.input] == ["x", "1.v", "1.spikes", "4.v"]
    outputs = ["out", "1.v.next", "1.spikes.next", "4.v.next"]
    assert [value.name for value in graph.output] == outputs
    run, about = read_onnx(content)
    assert about == json.loads(json.dumps(describe_step(step, {"dt": 1e-3})))
    found = compare_steps(net, step, run, batch=5)
    assert (found.different, found.silent) == (0, ())
    assert found.spikes > 1000


@pytest.mark.interop
def test_onnxruntime_runs_convolutions_over_pixels() -> None:
    net, shape = firing_net("pixels")
    step = StepNet(net, shape)
    run, _ = read_onnx(onnx_bytes(step, {}))
    found = compare_steps(net, step, run, batch=2)
    assert found.different == 0
    assert found.spikes > 1000


@pytest.mark.interop
@pytest.mark.parametrize(("name", "opset"), [("recurrent", 17), ("convolutions", None)])
def test_a_static_graph_gives_the_examples_next_to_it(name: str, opset: int | None) -> None:
    import onnx
    import onnxruntime

    net, shape = firing_net(name)
    step = StepNet(net, shape)
    content = onnx_bytes(step, {}, static=True, opset=opset)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert opset in (None, model.opset_import[0].version)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        assert not any(size.dim_param for size in value.type.tensor_type.shape.dim), value.name

    # A tool that knows only both files.
    session = onnxruntime.InferenceSession(content)
    samples = np.load(io.BytesIO(sample_bytes(net, step)), allow_pickle=False)
    inputs, outputs = ([v.name for v in vs] for vs in (session.get_inputs(), session.get_outputs()))
    assert {*samples} == {*inputs, *outputs}
    for t in range(100):
        got = session.run(None, {name: samples[name][t] for name in inputs})
        for key, value in zip(outputs, got, strict=True):
            assert_close(torch.tensor(value), torch.tensor(samples[key][t]), STATE, key)
    assert samples[outputs[0]].any()

    run, about = read_onnx(content)
    assert about["batch"] == 1
    assert compare_steps(net, step, run, batch=1).different == 0


@pytest.mark.interop
def test_an_opset_without_a_form_of_the_net_is_refused() -> None:
    step = StepNet(*firing_net("recurrent"))
    words = "ONNX has no form of this net with opset 9, expected a version near 18: use --opset 18"
    with pytest.raises(ValueError, match=words):
        onnx_bytes(step, {}, static=True, opset=9)


@pytest.mark.slow
@pytest.mark.interop
def test_what_onnx_lacks_is_refused_with_a_remedy() -> None:
    class Special(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.special.bessel_j0(x)

    net = SpikingSequential(LIFSynapse(3, 4), Special(), LIFLayer(4, taus=10e-3))
    with pytest.raises(ValueError, match=r"ONNX has no form of this net \(.*bessel_j0.*--torch"):
        onnx_bytes(StepNet(net, (3,)), {})


@pytest.mark.slow
@pytest.mark.interop
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_every_kind_of_net_is_read_back_as_it_was(name: str, kind: str) -> None:
    write, read = {"torch": (torch_bytes, read_torch), "onnx": (onnx_bytes, read_onnx)}[kind]
    net, shape = firing_net(name)
    step = StepNet(net, shape)
    run, _ = read(write(step, {}))
    found = compare_steps(net, step, run)
    assert found.different == 0
    assert found.spikes > 100
