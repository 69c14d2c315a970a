"""What the server of `forked.py` imports and computes once, so that no command pays for it.

It starts no thread and calls no backward pass: both would not survive a fork.
"""

import importlib

import numba
import torch

from faults.child import MODULES

torch.set_num_threads(1)

for module in (*MODULES, "pytest", "torch.utils.tensorboard"):
    importlib.import_module(module)

# numba's tables of types and functions
numba.cfunc("void(voidptr)")(lambda _: None)

# torch's optimizers import their compiler with their first step
weight = torch.nn.Parameter(torch.zeros(1))
weight.grad = torch.zeros(1)
torch.optim.AdamW([weight]).step()
