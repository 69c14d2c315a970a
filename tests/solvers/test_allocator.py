"""Large blocks are kept, once, where the C library allows it and the user has not said no."""

import os
import subprocess
import sys

from nwavesdk.solvers.cpu.threads import keep_large_blocks

CODE = """
import resource, torch
from nwavesdk.layers import LIFLayer, prepare_net
layer = LIFLayer(512, 10e-3)
x = torch.rand(64, 300, 512)  # 39 MB, more than glibc ever keeps by its own rules (32)
with torch.no_grad():
    for i in range(24):
        if i == 12:  # the heap has grown to what it needs
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        prepare_net(layer)
        layer(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**environment):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return int(done.stdout)


def test_fresh_tensors_cost_no_page_faults():
    if keep_large_blocks():
        assert faults() < faults(NWAVESDK_KEEP_MEMORY="0") / 10


def test_the_environment_may_forbid_it(monkeypatch):
    monkeypatch.setenv("NWAVESDK_KEEP_MEMORY", "0")
    assert keep_large_blocks.__wrapped__() is False
