"""`to_gpu` and `to_cpu`: the same net, with the same weights, on the other kind of solver."""

from torch import nn

from nwavesdk.layers.neuron import NeuronLayer

__all__ = ["to_cpu", "to_gpu"]


def to_gpu(model: nn.Module) -> nn.Module:
    """Set `device="gpu"` on every neuron layer of `model`, in place, and give `model` back.

    Weights, state and keys of `state_dict` stay as they are. It says how layers are solved, not where tensors lie:
    for that, `model.to("cuda")`. Layers whose `compasso_spike_grad` is `"fixed"` have the gradient of
    `fast_sigmoid(25)` from now on, as `device="gpu"` at construction gives it; one warning says so where another
    `spike_grad` was given.

    Raises:
        ValueError: a layer is recurrent; no layer has changed then.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> to_gpu(LIFLayer(3, taus=20e-3)).device
        'gpu'
    """
    return _set(model, "gpu")


def to_cpu(model: nn.Module) -> nn.Module:
    """Set `device="cpu"` on every neuron layer of `model`, in place, and give `model` back; see `to_gpu`.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> to_cpu(LIFLayer(3, taus=20e-3, device="gpu")).device
        'cpu'
    """
    return _set(model, "cpu")


def _set(model: nn.Module, device: str) -> nn.Module:
    layers = [module for module in model.modules() if isinstance(module, NeuronLayer)]
    for layer in layers:
        layer.check_device(device)
    for layer in layers:
        layer.set_device(device)
    return model
