"""`import nwavesdk as nw` offers the names that a first hour needs, lazily.

`first_hour.py` has them with their types.
"""

import pytest
from torch import nn

import nwavesdk


def test_names_and_modules_are_there():
    for name in dir(nwavesdk):
        assert getattr(nwavesdk, name) is not None
    modules = {"encoding", "layers", "loss", "plot", "surrogate", "train"}
    assert {*nwavesdk.__all__, *modules} <= set(dir(nwavesdk))


def test_every_layer_is_at_the_top():
    modules = {
        name
        for name in nwavesdk.layers.__all__
        if isinstance(value := getattr(nwavesdk.layers, name), type)
        and issubclass(value, nn.Module)
    }
    bases = {"DenseSynapse", "NeuronLayer", "Prepared", "Synapse"}
    assert modules - bases <= {*nwavesdk.__all__}
    assert nwavesdk.LILayer is nwavesdk.layers.LILayer


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'nwavesdk' has no attribute 'nonsense'"):
        _ = nwavesdk.nonsense
