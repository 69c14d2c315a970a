"""Names of the layers of a net in texts and pictures: their roles, in order of depth."""

from collections.abc import Sequence

__all__ = ["layer_names", "module_layer_names"]


def layer_names(n_layers: int, *, has_output: bool = True) -> list[str]:
    """Names of the layers that spike, by depth.

    Args:
        n_layers: Number of layers that spike.
        has_output: Whether the last of them is the output layer; a read-out does not spike.

    Example:
        >>> layer_names(3)
        ['hidden 1', 'hidden 2', 'output']
    """
    hidden = n_layers - 1 if has_output else n_layers
    return [f"hidden {k}" for k in range(1, hidden + 1)] + ["output"] * has_output


def module_layer_names(
    modules: Sequence[str], *, has_front_end: bool, has_output: bool = True
) -> dict[str, str]:
    """Name of each layer that spikes: its role, and in brackets its module in the net.

    Args:
        modules: Names of the neuron layers, by depth.
        has_front_end: Whether the first layer has one neuron for each filter of a chip.
        has_output: See `layer_names`.

    Example:
        >>> module_layer_names(["1", "3", "5"], has_front_end=True)
        {'1': 'front end (1)', '3': 'hidden 1 (3)', '5': 'output (5)'}
        >>> module_layer_names(["rnn.0"], has_front_end=False, has_output=False)
        {'rnn.0': 'hidden 1 (rnn.0)'}
    """
    # A net may consist of the front end alone, which is not an output layer.
    n_after = len(modules) - has_front_end
    after = layer_names(n_after, has_output=has_output and n_after > 0)
    roles = ["front end"] * has_front_end + after

    pairs = zip(modules, roles, strict=True)
    return {module: f"{role} ({module})" for module, role in pairs}
