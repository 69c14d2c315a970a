"""Shapes of the nodes of a NIR graph: what a node gives for an input of some shape."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nwavesdk.internal.checks import shown
from nwavesdk.interop.nir.node import Node

__all__ = ["pair", "shaped"]


def shaped(name: str, node: Node, shape: tuple[int, ...], notes: list[str]) -> Node:
    """A node with the shapes of its input and output; parameters get the shape of the neurons.

    Args:
        name: Its name, for messages.
        node: The node.
        shape: Shape of a step of its input.
        notes: Gets a line for each assumption.

    Raises:
        ValueError: If the node does not take such an input.
    """
    if node.kind in ("Linear", "Affine"):
        out = _linear(name, node, shape)
    elif node.kind in ("Conv1d", "Conv2d"):
        node, out = _convolution(name, node, shape)
    elif node.kind in ("SumPool2d", "AvgPool2d"):
        node, out = _pool(name, node, shape)
    elif node.kind == "Flatten":
        out = _flatten(name, node, shape)
    else:
        node, out = _spread(name, node, shape, notes), shape
    return replace(node, shape_in=shape, shape_out=out)


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """Height and width."""
    if isinstance(value, int):
        return value, value
    first, *others = value
    return first, others[0] if others else first


def _wrong(name: str, node: Node, shape: Sequence[int], expected: str) -> ValueError:
    return ValueError(
        f"NIR: node {shown(name)} ({node.kind}) gets an input of shape {list(shape)}, expected "
        f"{expected}: repair the graph."
    )


def _linear(name: str, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    weight = node.arrays["weight"]
    if weight.ndim != 2 or not weight.size:
        raise ValueError(
            f"NIR: node {shown(name)} ({node.kind}): weight has the shape {list(weight.shape)}, "
            "expected [outputs, inputs]: repair the graph."
        )
    if shape != weight.shape[1:]:
        raise _wrong(name, node, shape, f"[{weight.shape[1]}]; a Flatten joins several dimensions")
    _check_bias(name, node, weight.shape[0])
    return (weight.shape[0],)


def _check_bias(name: str, node: Node, outputs: int) -> None:
    bias = node.arrays.get("bias")
    if bias is not None and bias.shape != (outputs,):
        raise ValueError(
            f"NIR: node {shown(name)} ({node.kind}): bias has the shape {list(bias.shape)}, "
            f"expected [{outputs}]: repair the graph."
        )


def _convolution(name: str, node: Node, shape: tuple[int, ...]) -> tuple[Node, tuple[int, ...]]:
    weight = node.arrays["weight"]
    axes = 1 if node.kind == "Conv1d" else 2
    groups = node.settings["groups"]
    groups = groups[0] if isinstance(groups, tuple) else groups
    if weight.ndim != axes + 2 or not weight.size or weight.shape[0] % groups:
        raise ValueError(
            f"NIR: node {shown(name)} ({node.kind}): weight has the shape {list(weight.shape)}, "
            f"expected {axes + 2} dimensions, the first a multiple of groups {groups}: repair the "
            "graph."
        )
    if len(shape) != axes + 1 or shape[0] != weight.shape[1] * groups:
        expected = f"{weight.shape[1] * groups} channels and {axes} further dimensions"
        raise _wrong(name, node, shape, expected)
    _check_bias(name, node, weight.shape[0])
    settings: dict[str, Any] = {"groups": groups}
    for key in ("stride", "dilation"):
        settings[key] = pair(node.settings[key])[:axes]
    padding = node.settings["padding"]
    kernel = weight.shape[2:]
    if isinstance(padding, str):
        # As torch pads: of an odd number of zeros, the larger part comes last.
        total = [d * (k - 1) for d, k in zip(settings["dilation"], kernel, strict=True)]
        total = total if padding == "same" else [0] * axes
        if padding == "same" and any(s != 1 for s in settings["stride"]):
            raise ValueError(
                f"NIR: node {shown(name)} ({node.kind}): padding 'same' has no meaning with the "
                f"stride {list(settings['stride'])}: give the padding as numbers."
            )
        settings["padding"] = tuple((t // 2, t - t // 2) for t in total)
    else:
        settings["padding"] = tuple((p, p) for p in pair(padding)[:axes])
    sizes = tuple(
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(
            shape[1:],
            settings["padding"],
            settings["dilation"],
            kernel,
            settings["stride"],
            strict=True,
        )
    )
    if min(sizes) < 1:
        raise _wrong(name, node, shape, f"at least the size of the kernel {list(kernel)}")
    return replace(node, settings=settings), (weight.shape[0], *sizes)


def _pool(name: str, node: Node, shape: tuple[int, ...]) -> tuple[Node, tuple[int, ...]]:
    if len(shape) != 3:
        raise _wrong(name, node, shape, "channels, height and width")
    settings = {key: pair(node.settings[key]) for key in ("kernel_size", "stride", "padding")}
    rows = zip(
        shape[1:], settings["padding"], settings["kernel_size"], settings["stride"], strict=True
    )
    sizes = tuple((n + 2 * p - k) // s + 1 for n, p, k, s in rows)
    if min(sizes) < 1:
        raise _wrong(name, node, shape, f"at least {list(settings['kernel_size'])} pixels")
    if any(2 * p > k for p, k in zip(settings["padding"], settings["kernel_size"], strict=True)):
        raise ValueError(
            f"NIR: node {shown(name)} ({node.kind}): padding {list(settings['padding'])} is more "
            f"than half of the kernel {list(settings['kernel_size'])}: repair the graph."
        )
    return replace(node, settings=settings), (shape[0], *sizes)


def _flatten(name: str, node: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = len(shape)
    first, last = (node.settings[key] for key in ("start_dim", "end_dim"))
    first, last = (d + axes if d < 0 else d for d in (first, last))
    if not 0 <= first <= last < axes:
        expected = f"dimensions for start_dim {node.settings['start_dim']} and end_dim "
        expected += str(node.settings["end_dim"])
        raise _wrong(name, node, shape, expected)
    return (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])


def _spread(name: str, node: Node, shape: tuple[int, ...], notes: list[str]) -> Node:
    """A node with parameters per neuron: one value is for all neurons."""
    arrays = {}
    spread = []
    for key, array in node.arrays.items():
        try:
            arrays[key] = np.broadcast_to(array, shape)
        except ValueError:
            raise ValueError(
                f"NIR: node {shown(name)} ({node.kind}): {key} has the shape {list(array.shape)}, "
                f"and its input {list(shape)}: they must be equal; repair the graph."
            ) from None
        if array.shape != shape and key != "amount":
            spread.append(key)
    if spread:
        notes.append(
            f"{name} ({node.kind}): {', '.join(spread)} without the shape of the neurons, "
            f"{list(shape)}: one value is used for all of them"
        )
    return replace(node, arrays=arrays)
