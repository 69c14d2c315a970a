"""Placement: every neuron once, no core too full, recurrence on one core, reasons for failures."""

import itertools
import random
from dataclasses import replace

import pytest

from deploy.nets import chip_net
from nwavesdk.chip import Profile, load_profile
from nwavesdk.deploy import place_layers
from nwavesdk.layers import H1v2Layer, H1v2Synapse, LIFLayer, LIFSynapse, SpikingSequential


def assert_valid(placement, net, block=5):
    """Every neuron is on one core, pieces do not overlap, splits are at multiples of the block.

    Returns the number of pieces of each layer.
    """
    layers = {name: m for name, m in net.named_children() if hasattr(m, "neuron")}
    for name, layer in layers.items():
        pieces = [p for p in placement.pieces if p.layer == name]
        assert [i for p in pieces for i in range(p.first, p.first + p.size)] == list(
            range(layer.features[0])
        )
        assert all(p.first % block == 0 for p in pieces)
        if layer.layer_topology == "RC":
            assert len(pieces) == 1
    for core, size in enumerate(placement.cores):
        taken = [
            i for p in placement.pieces if p.core == core for i in range(p.start, p.start + p.size)
        ]
        assert len(taken) == len(set(taken)) == placement.used(core) <= size
        assert not taken or max(taken) < size
    return {name: sum(p.layer == name for p in placement.pieces) for name in layers}


def test_layers_that_fit_whole_fill_cores_in_order():
    placement = place_layers(chip_net(sizes=(50, 100)))
    assert [(p.layer, p.core, p.start, p.size) for p in placement.pieces] == [
        ("1", 0, 0, 16), ("3", 1, 0, 50), ("5", 2, 0, 100),
    ]  # fmt: skip
    assert str(placement).splitlines()[1] == "core 1: 50/50  hidden 1 (3) [0…49] at 0"


def test_a_layer_larger_than_a_core_is_split_at_the_block():
    net = chip_net("h1v1", sizes=(100, 20))
    pieces = assert_valid(place_layers(net), net)
    assert pieces == {"1": 1, "3": 2, "5": 1}


def test_a_recurrent_layer_gets_the_core_that_only_it_needs():
    net = chip_net(sizes=(45, 90), recurrent=(1,))
    placement = place_layers(net)
    assert_valid(placement, net)
    assert next(p for p in placement.pieces if p.layer == "5").core == 2


def test_another_profile_may_be_given():
    assert len(place_layers(chip_net("h1v2", sizes=(100, 20)), load_profile("h1v1")).cores) == 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: chip_net(sizes=(100, 100)),
            r"it has 216 neurons, the chip has 200 \(cores of 50 \+ 50 \+ 100\)",
        ),
        (
            lambda: chip_net(sizes=(110, 20), recurrent=(0,)),
            "must be on one core, it has 110 neurons and the largest core has 100",
        ),
        (
            lambda: chip_net(sizes=(60, 60), recurrent=(0, 1)),
            r"recurrent layers must be on one core and other layers are split at multiples of 5",
        ),
        (
            lambda: SpikingSequential(H1v2Synapse(250, 10), H1v2Layer(10, 1e-2)),
            "layer 1 does not fit on h1v2: each of its neurons has 250 inputs, .* at most 200",
        ),
        (
            lambda: SpikingSequential(
                H1v2Synapse(150, 60), H1v2Layer(60, 1e-2, layer_topology="RC")
            ),
            "has 210 inputs, 60 of them recurrent, expected at most 200",
        ),
    ],
)
def test_nets_that_do_not_fit_are_refused_with_the_reason(make, words):
    with pytest.raises(ValueError, match=words):
        place_layers(make())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: LIFLayer(3, 1e-2),
            "place_layers takes a SpikingSequential of chip modules, got LIFLayer",
        ),
        (
            lambda: SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 1e-2)),
            r"module 0 \(LIFSynapse\) is not a module of a chip",
        ),
        (
            lambda: SpikingSequential(H1v2Synapse(3, 4), H1v2Synapse(4, 4)),
            r"module 0 \(H1v2Synapse\) has no neuron layer behind it",
        ),
        (
            lambda: SpikingSequential(H1v2Layer(4, 1e-2)),
            r"\(H1v2Layer\) has no front end or synapse in front of it",
        ),
        (
            lambda: SpikingSequential(H1v2Synapse(3, 4)),
            r"module 0 \(H1v2Synapse\) has no neuron layer behind it",
        ),
    ],
)
def test_modules_that_cannot_be_deployed_are_named(make, words):
    with pytest.raises(TypeError, match=words):
        place_layers(make())


def brute_force_fewest_splits(sizes, recurrent, cores):
    """Smallest number of split layers, or None if nothing fits.

    Tries every core for every layer of every subset of unsplit layers.
    """
    n = len(sizes)
    for cut in range(n + 1):
        for split in itertools.combinations(range(n), cut):
            if set(split) & set(recurrent):
                continue
            whole = [i for i in range(n) if i not in split]
            for chosen in itertools.product(range(len(cores)), repeat=len(whole)):
                free = list(cores)
                for i, core in zip(whole, chosen, strict=True):
                    free[core] -= sizes[i]
                # Split layers fill what is left in blocks of 5. Sizes are multiples of 5 here, so
                # the last piece of a layer is a block, too.
                if min(free) >= 0 and sum(r // 5 * 5 for r in free) >= sum(sizes[i] for i in split):
                    return cut
    return None


@pytest.mark.parametrize(
    ("cores", "sizes", "cut"),
    [
        ((64, 64, 64, 64), (127, 18, 3, 104), 2),
        ((64, 64, 64, 64), (19, 91, 67, 74), 3),
        ((13, 10, 10, 8), (16, 23), 2),
        ((10, 3, 8, 10), (2, 11, 16), 2),
        ((10, 5, 5), (6, 1, 6, 7), 2),
    ],
)
def test_a_nearly_full_chip_is_searched_for_the_ends_of_split_layers(cores, sizes, cut):
    """64 is 12 blocks and 4 neurons, which only the end of a split layer can use."""
    net = chip_net("h1v1", sizes=sizes, n_inputs=5, frontend=False)
    profile = load_profile("h1v1")
    entries = {
        **profile.entries,
        "cores": replace(profile.entries["cores"], value=tuple(map(float, cores))),
    }
    pieces = assert_valid(place_layers(net, Profile("measured", entries)), net)
    assert sum(count > 1 for count in pieces.values()) == cut


def test_as_few_layers_are_split_as_possible():
    rng = random.Random(0)
    cores = (50, 50, 100)
    fits = 0
    for _ in range(150):
        sizes = [5 * rng.randint(1, 20) for _ in range(rng.randint(1, 4))]
        recurrent = [i for i in range(len(sizes)) if rng.random() < 0.3]
        wanted = brute_force_fewest_splits(sizes, recurrent, cores)
        net = chip_net(sizes=sizes, recurrent=recurrent, n_inputs=5, frontend=False)
        if wanted is None:
            with pytest.raises(ValueError, match="does not fit"):
                place_layers(net)
            continue
        fits += 1
        pieces = assert_valid(place_layers(net), net)
        assert sum(count > 1 for count in pieces.values()) == wanted, (sizes, recurrent)
    assert fits > 40


def test_a_chip_of_many_cores_has_the_same_placement_each_time():
    rng = random.Random(0)
    sizes = [rng.randint(1, 500) for _ in range(8)]
    net = chip_net("h1v1", sizes=sizes, n_inputs=5, frontend=False)
    profile = load_profile("h1v1")
    changed = {"cores": (256.0,) * 16, "fan_in": 4096.0}
    entries = {name: replace(profile.entries[name], value=v) for name, v in changed.items()}
    large = Profile("large", {**profile.entries, **entries})
    placement = place_layers(net, large)
    pieces = assert_valid(placement, net)
    assert sum(count > 1 for count in pieces.values()) == sum(size > 256 for size in sizes) > 2
    assert place_layers(net, large) == placement
