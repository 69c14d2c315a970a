"""The documented import paths give functions, whatever was imported before.

`fluct_init` is a function and a module of that name, so the order of imports could change what
`nwavesdk.init.fluct_init` is.
"""

import sys
import types

import pytest

import nwavesdk.init

ORDERS = [
    "from nwavesdk.init import fluct_init",
    "from nwavesdk.init.fluct_init import fluct_init",
    "import nwavesdk.init.fluct_init; from nwavesdk.init import fluct_init",
    "import nwavesdk.init; import nwavesdk.init.fluct_init; from nwavesdk.init import fluct_init",
    "from nwavesdk.init.weights import init_weights; from nwavesdk.init import fluct_init",
    "from nwavesdk.init.fluct_init import fluct_init; import nwavesdk.init.drive",
    "import importlib; importlib.import_module('nwavesdk.init.fluct_init')",
]


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_imports_gives_functions(order, monkeypatch):
    loaded = [name for name in sys.modules if name.startswith("nwavesdk.init")]
    monkeypatch.setattr(sys.modules["nwavesdk"], "init", nwavesdk.init)
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    names = {}
    exec(order, names)
    exec("from nwavesdk.init import fluct_init as same, frontend_firing_init", names)
    exec("from nwavesdk.init.weights import init_weights", names)
    for name in ("same", "frontend_firing_init", "init_weights"):
        assert isinstance(names[name], types.FunctionType)
    assert names.get("fluct_init", names["same"]) is names["same"]
