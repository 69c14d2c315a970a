"""Remedies for a run: each names options that `nwave train` has, or a line of the net's file."""

import re

import pytest

from cli.command import nwave
from nwavesdk.analysis import health_remedies, memory
from nwavesdk.analysis.health import Finding
from nwavesdk.analysis.remedies import with_remedies
from nwavesdk.presets import NAMES
from nwavesdk.train.config.net_file import NetPage
from nwavesdk.train.config.nets import UserNet
from nwavesdk.train.fit.network import sample_config

NAME = {"1": "hidden 1 (1)"}
KINDS = sorted({*health_remedies.REMEDIES, *memory.REMEDIES})


def config_of(preset, most_spikes=None, **net):
    if preset == "own":
        page = NetPage(file="/some/net.py", function="build", sha256="0" * 64)
        changes = {"net": UserNet(page=page), "page": page}
        return sample_config("lif", (12,), 3).model_copy(update=changes)
    config = sample_config(preset, (12,), 3, **net)
    learning = config.learning.model_copy(update={"most_spikes": most_spikes})
    return config.model_copy(update={"learning": learning})


def remedy_of(kind, preset, value=3.0, config=None, rate=0.0, score=0.5):
    finding = Finding(kind=kind, layer="1", value=value, text="layer 1: text", remedy="")
    config = config or config_of(preset)
    (result,) = with_remedies((finding,), config, NAME, {"1": rate}, score)
    assert (result.kind, result.text, result.value) == (kind, "hidden 1 (1): text", value)
    return result.remedy


@pytest.mark.parametrize("preset", [*NAMES, "own"])
def test_each_remedy_names_options_of_train_or_the_file(preset):
    net = ["--chip", "h1v2"] if preset == "chip" else ["--net", preset] if preset in NAMES else []
    lines = nwave("train", *net, "--help").stdout.splitlines()
    options = {line.split()[0] for line in lines if line.startswith("  --")}
    for kind in KINDS:
        remedy = remedy_of(kind, preset)
        named = set(re.findall(r"(?<!\S)--[a-z-]+", remedy))
        assert named or "in net.py" in remedy, kind
        assert named <= options, (kind, named - options)
        assert not remedy.endswith("."), kind


def test_a_remedy_is_an_option_only_where_the_net_reads_it():
    assert remedy_of("leaks away", "lif") == "train again with --tau 0.03"
    assert remedy_of("leaks away", "conv") == (
        "train again with other taus in a copy of the net (nwave net conv > net.py, then "
        "--net net.py:build)"
    )
    assert remedy_of("leaks away", "own") == "train again with other taus in net.py"
    assert "--threshold 0.4" in remedy_of("dead", "conv")
    assert "--threshold" not in remedy_of("dead", "chip")
    drawn = config_of("lif", first_weights="drawn")
    assert "--first-weights driven" in remedy_of("dead", "lif", config=drawn)
    assert "--first-weights" not in remedy_of("dead", "own")


def test_a_remedy_has_the_surrogate_of_the_finding():
    config = config_of("lif", surrogate="atan(alpha=5)")
    for kind in ("vanishing", "exploding", "starved", "exploding over time"):
        finding = Finding(
            kind=kind, layer="1", value=1.0, text="text", remedy="", surrogate="atan(alpha=0.7)"
        )
        (result,) = with_remedies((finding,), config, NAME, {"1": 0.0}, 0.5)
        assert re.findall(r'--surrogate "(.*?)"', result.remedy) == ["atan(alpha=0.7)"]


def test_no_remedy_of_dead_neurons_raises_rates_against_the_bound():
    bounded = config_of("conv", most_spikes=0.04)
    # The bound decides the rate of the layer.
    assert remedy_of("dead", "conv", config=bounded, rate=0.038) == (
        "train again with a higher bound, --most-spikes 0.08; the bound of rates, 0.04, leaves "
        "some silent"
    )
    # The layer is far below its bound.
    assert "--threshold 0.4" in remedy_of("dead", "conv", config=bounded, rate=0.001)
    # A net that has learned needs none.
    assert remedy_of("dead", "conv", config=bounded, rate=0.038, score=0.99) == (
        "none is needed, the neurons that fire have learned the training set; the bound of rates, "
        "0.04, leaves some silent"
    )
    assert remedy_of("dead", "lif", score=0.99) == (
        "none is needed, the neurons that fire have learned the training set"
    )
