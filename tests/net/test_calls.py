"""A module with hooks of any kind is called, not only its `forward`."""

import pytest
from torch import nn
from torch.nn.modules import module as torch_module

from nwavesdk.net.calls import is_watched


@pytest.mark.parametrize(
    "register",
    [
        torch_module.register_module_forward_hook,
        torch_module.register_module_forward_pre_hook,
        torch_module.register_module_full_backward_hook,
        torch_module.register_module_full_backward_pre_hook,
    ],
)
def test_hooks_of_all_modules_watch_each_module(register):
    linear = nn.Linear(2, 2)
    assert not is_watched(linear)
    handle = register(lambda *_: None)
    try:
        assert is_watched(linear)
    finally:
        handle.remove()
    assert not is_watched(linear)
