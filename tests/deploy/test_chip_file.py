"""The chip file: integers for the simulated weights, and a net with the same spikes."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from deploy.nets import chip_net, sound
from nwavesdk.chip import Profile, Quantizer, load_profile
from nwavesdk.deploy import export, load_export, place_layers, read_header
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net


@torch.no_grad()
def layer_spikes(net, x):
    prepare_net(net)
    return [record.spk for record in net.record(x).layers.values()]


@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
@pytest.mark.parametrize("bits", [2, 5])
@pytest.mark.parametrize("recurrent", [(), (0,)])
def test_the_net_read_back_has_the_same_spikes(tmp_path, chip, bits, recurrent):
    net = chip_net(chip, bits=bits, recurrent=recurrent)
    path = tmp_path / "chip.safetensors"
    header = export(net, path, about={"gain": 2.5})
    back = load_export(path)
    assert read_header(path) == json.loads(json.dumps(header))
    assert header["about"] == {"gain": 2.5}
    x = sound(3, 200, 16)
    own = layer_spikes(net, x)
    other = layer_spikes(back, x)
    assert sum(spk.sum() for spk in own) > 100
    for a, b in zip(own, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("bits", range(2, 6))
def test_stored_integers_are_the_simulated_weights(tmp_path, bits):
    net = chip_net(bits=bits)
    path = tmp_path / "chip.safetensors"
    export(net, path)
    prepare_net(net)
    with safe_open(path, "pt") as file:
        for name in ("0", "2", "4"):
            integers = file.get_tensor(f"{name}.weight")
            assert integers.dtype == torch.int8
            assert integers.abs().max() <= 2 ** (bits - 1) - 1
            simulated = net[int(name)].effective_weight().detach()
            assert torch.equal(
                0.5 * (integers.float() * Quantizer(bits, 1.66).step), simulated
            )  # gain of H1v2: 0.5


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_recurrent_weights_keep_their_bits(tmp_path, bits):
    net = chip_net("h1v2", bits=bits, recurrent=(0,))
    net[3].recurrent_weights.data.uniform_(0.3, 1.66)
    path = tmp_path / "chip.safetensors"
    export(net, path)
    back = load_export(path)
    for each in (net, back):
        prepare_net(each)
    assert back[3].quantization_bits == bits
    assert torch.equal(net[3].effective_recurrent_weights(), back[3].effective_recurrent_weights())
    assert back[3].effective_recurrent_weights().abs().max() > 0.5


def test_a_module_without_bits_gets_those_of_the_chip(tmp_path):
    net = chip_net(bits=None)
    quantized = chip_net(bits=5)
    quantized.load_state_dict(net.state_dict())
    path = tmp_path / "chip.safetensors"
    export(net, path)
    x = sound(2, 100, 16)
    for a, b in zip(layer_spikes(quantized, x), layer_spikes(load_export(path), x), strict=True):
        assert torch.equal(a, b)


def test_the_header_has_modules_placement_and_profile(tmp_path):
    net = chip_net("h1v1", sizes=(100, 20))
    path = tmp_path / "chip.safetensors"
    export(net, path)
    header = read_header(path)
    assert [m["kind"] for m in header["modules"]] == [
        "frontend",
        "layer",
        "synapse",
        "layer",
        "synapse",
        "layer",
    ]
    assert header["placement"] == [vars(piece) for piece in place_layers(net).pieces]
    assert header["profile"] == json.loads(load_profile("h1v1").to_json())


def test_taus_are_read_back_bit_by_bit(tmp_path):
    net = chip_net("h1v1")
    net[1].log_taus = (torch.rand(16) * 0.05 + 1e-3).log()
    path = tmp_path / "chip.safetensors"
    export(net, path)
    assert torch.equal(load_export(path)[1].log_taus, net[1].log_taus)


@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
def test_double_precision_is_kept(tmp_path, chip):
    net = chip_net(chip, recurrent=(0,)).double()
    net[1].log_taus += 1e-9 if chip == "h1v1" else 0  # not a float32 number
    path = tmp_path / "chip.safetensors"
    export(net, path)
    back = load_export(path)
    x = sound(3, 200, 16).double()
    for each in (net, back):
        prepare_net(each)
    assert torch.equal(back[1].log_taus, net[1].log_taus)
    for a, b in zip(net.record(x).layers.values(), back.record(x).layers.values(), strict=True):
        assert torch.equal(a.spk, b.spk)
        assert torch.equal(a.mem, b.mem)


def test_paths_may_be_strings(tmp_path):
    path = str(tmp_path / "chip.safetensors")
    header = export(chip_net(), path)
    assert read_header(path)["modules"] == header["modules"]
    assert load_export(path)[0].quantization_bits == 5


def test_a_chip_with_other_spikes_is_refused(tmp_path):
    path = tmp_path / "chip.safetensors"
    export(chip_net(), path)
    before = path.read_bytes()
    other = load_profile("h1v2")
    entries = {**other.entries, "charge_gain": replace(other.entries["charge_gain"], value=0.6)}
    with pytest.raises(
        ValueError, match="weights for the charge law of h1v2, .*: train it for the chip"
    ):
        export(chip_net(), path, Profile("measured", entries))
    with pytest.raises(ValueError, match="neurons of kind h1v1, expected h1v2"):
        export(chip_net("h1v1", bits=2), path, load_profile("h1v2"))
    assert path.read_bytes() == before


def test_a_net_that_violates_a_limit_is_not_written(tmp_path):
    net = chip_net()
    net[2].weight.data[0] = 5.0
    net[2].weight.data[1:5] = -1.0
    path = tmp_path / "chip.safetensors"
    with pytest.raises(
        ValueError,
        match=r"the net violates limits of h1v2: 2.weight\[0, 0\].*and \d+ more: train it for",
    ):
        export(net, path)
    assert not path.exists()
    with pytest.raises(TypeError, match="is not a module of a chip"):
        export(SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 1e-2)), path)


def test_other_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "chip.safetensors"
    with pytest.raises(ValueError, match="does not exist: write a chip file with `nwave export`"):
        load_export(path)
    export(chip_net(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is not a file of `nwave export`, or it is damaged"):
        load_export(path)
    path.write_bytes(whole.replace(b'\\"version\\": 1', b'\\"version\\": 9'))
    with pytest.raises(
        ValueError, match="has version 9, this nwavesdk reads version 1: export the net again"
    ):
        load_export(path)
