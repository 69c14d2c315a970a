"""What the server of `running.py` imports and computes once, so that no command pays for it.

It starts no thread and calls no backward pass: both would not survive a fork.
"""

import gc
import importlib

import numba
import torch

torch.set_num_threads(1)

for module in (
    "lightning",
    "matplotlib.pyplot",
    "nwavesdk.analysis.study.report",
    "nwavesdk.analysis.slopes.report",
    "nwavesdk.cli",
    "nwavesdk.data",
    "nwavesdk.deploy",
    "nwavesdk.train",
    "pytest",
    "safetensors.torch",
    "scipy.signal",
    "soundfile",
    "torch.utils.tensorboard",
):
    importlib.import_module(module)

# numba's tables of types and functions
numba.cfunc("void(voidptr)")(lambda _: None)

# torch's optimizers import their compiler with their first step
weight = torch.nn.Parameter(torch.zeros(1))
weight.grad = torch.zeros(1)
torch.optim.AdamW([weight]).step()

gc.freeze()  # what is imported is never collected, which makes a collection cheap
