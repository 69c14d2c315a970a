"""The chip file: integers for the simulated weights, and a net with the same spikes."""

import copy
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save
from torch.nn.utils import prune

from deploy.nets import chip_net, sound
from nwavesdk.chip import Profile, Quantizer, load_profile
from nwavesdk.deploy import (
    draw_series,
    export,
    find_violations,
    load_export,
    place_layers,
    read_header,
)
from nwavesdk.deploy.chip_file import pack_net, unpack_net
from nwavesdk.internal.files import FileError
from nwavesdk.internal.formats import UNSEALED, seal
from nwavesdk.layers import (
    DelayedSynapse,
    H1v2Layer,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    find_edges,
    keep_n_of_m,
    prepare_net,
    project,
)
from nwavesdk.net import Residual


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chip.safetensors"


@torch.no_grad()
def layer_spikes(net, x):
    prepare_net(net)
    return [record.spk for record in net.record(x).layers.values()]


@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
@pytest.mark.parametrize("bits", [2, 5])
@pytest.mark.parametrize("recurrent", [(), (0,)])
def test_the_net_read_back_has_the_same_spikes(path, chip, bits, recurrent):
    net = chip_net(chip, bits=bits, recurrent=recurrent)
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
def test_stored_integers_are_the_simulated_weights(path, bits):
    net = chip_net(bits=bits)
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
def test_recurrent_weights_keep_their_bits(path, bits):
    net = chip_net("h1v2", bits=bits, recurrent=(0,))
    net[3].recurrent_weights.data.uniform_(0.3, 1.66)
    export(net, path)
    back = load_export(path)
    for each in (net, back):
        prepare_net(each)
    assert back[3].quantization_bits == bits
    assert torch.equal(net[3].effective_recurrent_weights(), back[3].effective_recurrent_weights())
    assert back[3].effective_recurrent_weights().abs().max() > 0.5


def test_a_module_without_bits_gets_those_of_the_chip(path):
    net = chip_net(bits=None)
    quantized = chip_net(bits=5)
    quantized.load_state_dict(net.state_dict())
    export(net, path)
    x = sound(2, 100, 16)
    for a, b in zip(layer_spikes(quantized, x), layer_spikes(load_export(path), x), strict=True):
        assert torch.equal(a, b)


def test_the_header_has_modules_placement_and_profile(path):
    net = chip_net("h1v1", sizes=(100, 20))
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


@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
def test_double_precision_is_kept(path, chip):
    net = chip_net(chip, recurrent=(0,)).double()
    net[1].log_taus += 1e-9 if chip == "h1v1" else 0  # not a float32 number
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


def test_a_chip_with_other_spikes_is_refused(path):
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


def test_a_pruned_net_is_projected_and_read_back_with_its_zeros(tmp_path):
    net = chip_net(recurrent=(0,))
    masks = {}
    for place, key in ((2, "weight"), (3, "recurrent_weights")):
        mask = keep_n_of_m(getattr(net[place], key), 2, 5)
        prune.custom_from_mask(net[place], key, mask)
        masks[f"{place}.{key}"] = mask.bool()
        net[place].get_parameter(f"{key}_orig").data.normal_()
    assert find_violations(net)
    project(net)
    assert not find_violations(net)
    net.eval()
    prepare_net(net)
    x = sound(3, 100, 16)
    expected = net(x)[0]
    export(net, tmp_path / "chip.safetensors")
    read = load_export(tmp_path / "chip.safetensors")
    prepare_net(read)
    assert torch.equal(read(x)[0], expected)
    for edge in find_edges(read).edges:
        if edge.name in masks:
            assert not edge.weight[~masks[edge.name]].any()
            assert edge.weight[masks[edge.name]].any()


@pytest.mark.parametrize(
    ("place", "module"),
    [
        (0, torch.nn.Linear(16, 16)),
        (2, DelayedSynapse(16, 5, 3)),
        (0, torch.nn.Conv1d(1, 1, 3)),
        (1, Residual(H1v2Layer(16, 1e-2))),
    ],
)
def test_what_is_not_dense_is_refused_by_name(place, module):
    net = chip_net()
    net[place] = module
    words = (
        rf"find_violations: module {place} \({type(module).__name__}\) is not a module of a chip"
    )
    with pytest.raises(TypeError, match=words + ", and chips have dense synapses only"):
        find_violations(net)


def test_a_net_that_violates_a_limit_is_not_written(path):
    net = chip_net()
    net[2].weight.data[0] = 5.0
    net[2].weight.data[1:5] = -1.0
    with pytest.raises(
        ValueError,
        match=r"the net violates limits of h1v2: 2.weight\[0, 0\].*and \d+ more: train it for",
    ):
        export(net, path)
    assert not path.exists()
    with pytest.raises(TypeError, match="is not a module of a chip"):
        export(SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 1e-2)), path)


@pytest.fixture(scope="module")
def content():
    """The bytes of a file: a front end of 16 channels, and a recurrent layer of 5 neurons."""
    torch.manual_seed(0)
    return pack_net(chip_net(sizes=(5,), recurrent=(0,)), about={"gain": 2.5})


def header_and_tensors(content):
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    return json.loads(metadata["chip"]), load(content)


def packed(header, tensors, **metadata):
    texts = {"chip": header if isinstance(header, str) else json.dumps(header)}
    return seal(save(tensors, texts | {"sha256": UNSEALED} | metadata))


def read_error(content):
    """The line of the error of a file that is not accepted."""
    with pytest.raises(FileError) as error:
        unpack_net(content, Path("chip.safetensors"))
    text = str(error.value)
    assert text.startswith("chip.safetensors ")
    assert text.isprintable()
    assert len(text) < 1500
    return text


def test_a_file_that_is_cut_off_or_has_a_flipped_bit_is_found(content):
    for length in range(0, len(content), 7):
        read_error(content[:length])
    for bit in range(0, 8 * len(content), 157):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        read_error(bytes(damaged))


DELETED = object()


def changed(value, place, new):
    """A copy of a JSON value with another value, or none, at a place."""
    value = copy.deepcopy(value)
    *path, last = place
    target = value
    for key in path:
        target = target[key]
    if new is DELETED:
        del target[last]
    else:
        target[last] = new
    return value


@pytest.mark.parametrize(
    ("place", "new", "words"),
    [
        (["version"], 2, "version 2, expected 1"),
        (["version"], True, r"version: .*number, not a bool \(got True\)"),
        (["profile", "entries", "threshold", "value"], 1e300, "profile h1v2: threshold.value"),
        (["profile", "name"], "a\x1b", r"control characters, got 'a\\x1b'"),
        (["profile"], [], r"profile: expected a dictionary \(got \[\]\)"),
        (["modules"], [], "modules: expected weights and layers to alternate"),
        (["modules", 3], DELETED, "to alternate, a layer last"),
        (["modules", 0], DELETED, "modules: expected weights and layers to alternate"),
        (["modules", 2, "kind"], "frontend", "modules.2.frontend.size: expected at most"),
        (["modules", 0, "kind"], "pool", "modules.0: tag 'pool'"),
        (["modules", 2, "name"], "1", r"module '1' \(synapse\): an earlier module has the same"),
        (["modules", 2, "size"], [15, 5], r"module '2' \(synapse\): takes 15 inputs, expected 16"),
        (["modules", 2, "size", 0], 10**12, r"modules.2.synapse.size.0: .* most 65536 \(got 10"),
        (["modules", 2, "bits"], 9, r"modules.2.synapse.bits: .* most 8 \(got 9\)"),
        (["modules", 2, "bits"], 8, "2.weight: 8 bits, expected at most 5"),
        (["modules", 1, "bits"], 5, r"module '1' \(layer\): expected bits if and only if"),
        (["modules", 1, "dt"], -1e-3, r"modules.1.layer.dt: .* \(got -0.001\)"),
        (["modules", 1, "dt"], 1e30, r"modules.1.layer.dt: .* \(got 1e\+30\)"),
        (["modules", 1, "topology"], "XY", "modules.1.layer.topology: expected 'FF' or"),
        (["placement", 0, "core"], -1, r"placement.0.core: .* \(got -1\)"),
        (["placement", 0, "size"], 10**12, r"placement.0.size: .* most 65536 \(got 10"),
        (["about"], 3, r"about: expected a dictionary \(got 3\)"),
        (["more"], 3, "more: expected no entry of this name"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused_by_name(content, place, new, words):
    header, tensors = header_and_tensors(content)
    assert re.search(words, read_error(packed(changed(header, place, new), tensors)))


def test_any_value_of_a_header_with_another_type_ends_in_one_line(content):
    """Numbers of the profile may change; other swaps of a type may not pass."""
    header, tensors = header_and_tensors(content)
    places = [["version"], ["profile"], ["modules"], ["placement"], ["about"]]
    for index, module in enumerate(header["modules"]):
        places += [["modules", index], *(["modules", index, key] for key in module)]
    for key in header["placement"][0]:
        places.append(["placement", 0, key])
    places += [["profile", "entries"], ["profile", "name"], ["profile", "entries", "cores"]]
    for place in places:
        for new in (True, "", [[]], DELETED):
            read_error(packed(changed(header, place, new), tensors))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (
            "0.weight",
            lambda w: w.fill_(16),
            "0.weight.*expected .* from -15 to 15",
        ),
        (
            "0.weight",
            lambda w: w.fill_(-128),
            "0.weight.*expected .* from -15 to 15",
        ),
        ("2.weight", lambda w: w.float(), r"is torch.float32 \[16, 5\], expected torch.int8 \[16,"),
        ("2.weight", lambda w: w.T.contiguous(), r"is torch.int8 \[5, 16\], expected torch.int8"),
        ("3.recurrent_weights", lambda w: w[:0], r"is torch.int8 \[0, 5\], expected torch.int8"),
        ("1.log_taus", lambda t: t.int(), r"'1.log_taus' is torch.int32 \[\], expected floating"),
        ("1.log_taus", lambda t: t.expand(3).clone(), r"expected floating numbers \[\] or \[16\]"),
        (
            "1.log_taus",
            lambda t: t * float("nan"),
            "1.log_taus.*that are not logarithms",
        ),
        ("3.log_taus", lambda t: t - 1e30, "'3.log_taus' has values that are not logarithms"),
        (
            "3.log_taus",
            lambda t: t.double(),
            "time constants have the dtypes .'torch.float32', 'torch.float64'",
        ),
        ("3.log_taus", lambda t: t + 0.05, "3.taus.0.: time constant .* is not in the chip's list"),
        (
            "1.taus",
            lambda _: torch.tensor(0.02),
            "'1.taus' does not agree with it",
        ),
        ("0.weight", None, "tensor '0.weight' is missing"),
        ("9.weight", lambda _: torch.zeros(3), "tensor '9.weight' belongs to no module"),
    ],
)
def test_tensors_that_contradict_the_header_are_refused_by_name(content, name, change, words):
    header, tensors = header_and_tensors(content)
    tensor = tensors.pop(name, None)
    if change is not None:
        tensors[name] = change(tensor)
    assert re.search(words, read_error(packed(header, tensors)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON .Expecting value"),
        ("[]", "holds a JSON list, expected an object"),
        ("[" * 10**5, "is not JSON .maximum recursion"),
        ('{"a": NaN}', "NaN is not a number of JSON"),
    ],
)
def test_a_header_that_is_not_an_object_is_refused(content, text, words):
    assert re.search(words, read_error(packed(text, load(content))))


def test_a_text_in_the_header_of_safetensors_is_escaped_and_shortened(content):
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    del header["__metadata__"]["sha256"]
    header["0.weight"]["dtype"] = "\x1b" * 9000
    text = json.dumps(header).encode()
    damaged = len(text).to_bytes(8, "little") + text + content[8 + length :]
    assert r"unknown variant `\x1b\x1b" in read_error(damaged)


def test_the_same_net_gives_the_same_bytes(content):
    torch.manual_seed(0)
    net = chip_net(sizes=(5,), recurrent=(0,))
    assert pack_net(net, about={"gain": 2.5}) == content
    assert content.startswith(b'{"__metadata__": {"chip": ', 8)
    assert int.from_bytes(content[:8], "little") % 8 == 0


@pytest.mark.parametrize("value", [float("nan"), 0.03, -0.02])
def test_exact_time_constants_that_differ_from_their_logarithms_are_refused(value):
    header, tensors = header_and_tensors(pack_net(chip_net("h1v1", sizes=()).double()))
    tensors["1.taus"] = torch.full_like(tensors["1.taus"], value)
    assert "'1.taus' does not agree with it" in read_error(packed(header, tensors))


def test_unknown_texts_of_a_file_are_refused(content):
    header, tensors = header_and_tensors(content)
    assert "unknown ['more'] in its header" in read_error(packed(header, tensors, more="x"))


def test_what_is_not_a_chip_file_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "chip.safetensors"
    with pytest.raises(FileError, match="does not exist: check the name"):
        load_export(path)
    os.mkfifo(path)
    for read in (load_export, read_header):
        with pytest.raises(FileError, match="is a pipe, expected a file"):
            read(path)
        with pytest.raises(FileError, match="is a folder, expected a file"):
            read(tmp_path)
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(FileError, match="is too large .1,099,511,627,776 bytes, expected at most"):
        load_export(huge)
    assert "header too large" in read_error((2**63).to_bytes(8, "little"))


@pytest.mark.parametrize("tensor", ["0.weight", "3.recurrent_weights", "1.taus", "1.thresholds"])
def test_a_number_that_is_not_finite_is_refused_by_name(path, tensor):
    net = chip_net(sizes=(5,), recurrent=(0,))
    name, _, key = tensor.partition(".")
    values = getattr(net[int(name)], {"taus": "log_taus"}.get(key, key)).data
    values.view(-1)[0] = float("nan")
    with pytest.raises(ValueError, match=rf"violates limits of h1v2: {tensor}\[.*nan"):
        export(net, path)
    assert not path.exists()
    with pytest.raises(RuntimeError, match="finite"):
        draw_series(net, sound(2, 9, 16), torch.zeros(2).long(), 5, n=2)


def test_a_target_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    net = SpikingSequential()  # would be an error
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    for path, words in (
        (link, "is a link, expected a file"),
        (tmp_path, "is a folder"),
        (link / "file", "cannot be written"),
    ):
        with pytest.raises(FileError, match=words):
            export(net, path)
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"gain": float("nan")}, "about must hold only values that JSON can represent .*nan"),
        ({"net": object()}, "about must hold only values that JSON can represent"),
        ({"a": json.loads("[" * 300 + "]" * 300)}, "about.a.list.*[Rr]ecursion"),
    ],
)
def test_about_that_could_not_be_read_back_is_not_written(path, about, words):
    with pytest.raises(ValueError, match=words):
        export(chip_net(sizes=(5,)), path, about=about)
    assert not path.exists()


def test_an_earlier_file_is_kept_if_the_disk_is_full(tmp_path, path, monkeypatch):
    path.write_bytes(b"earlier")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="chip.safetensors cannot be written .No space left"):
        export(chip_net(sizes=(5,)), path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"earlier"
