"""The documented import paths give functions, whatever was imported before."""

import subprocess
import sys

import pytest

IMPORTS = [
    "from nwavesdk.init import fluct_init",
    "from nwavesdk.init.fluct_init import fluct_init",
    "import nwavesdk.init.fluct_init; from nwavesdk.init import fluct_init",
    "import nwavesdk.init; import nwavesdk.init.fluct_init; from nwavesdk.init import fluct_init",
    "from nwavesdk.init.weights import init_weights; from nwavesdk.init import fluct_init",
    "from nwavesdk.init.fluct_init import fluct_init as f; from nwavesdk.init import fluct_init; 1 / (f is fluct_init)",
    "import importlib; importlib.import_module('nwavesdk.init.fluct_init'); from nwavesdk.init import fluct_init",
]
CHECK = (
    "import types; from nwavesdk.init import frontend_firing_init; from nwavesdk.init.weights import init_weights\n"
    "assert all(isinstance(f, types.FunctionType) for f in (fluct_init, frontend_firing_init, init_weights))"
)


@pytest.mark.parametrize("imports", IMPORTS)
def test_a_path_gives_the_function(imports):
    run = subprocess.run(
        [sys.executable, "-c", f"{imports}\n{CHECK}"], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


def test_in_this_process_too():
    from nwavesdk.init import fluct_init

    assert callable(fluct_init)
