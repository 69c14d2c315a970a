"""The charge of a layer as C: the tables of its weights, and the calls of the runtime.

The tables lie in the order in which the runtime header reads them.
"""

from typing import Any, NamedTuple

import numpy as np

from nwavesdk.interop.c.operations import MAX_SHORT, IntegerNet, Layer, Weights
from nwavesdk.interop.c.tables import Parts

__all__ = ["EdgeText", "edge_text", "latest"]

BLOCK = 16  # outputs that a pass over spikes adds together


class EdgeText(NamedTuple):
    """The statements of an edge in the function of its layer.

    Attributes:
        sums: The statements that compute the sums of a place, or that copy the values of four sums.
        before: The statements before the first place.
        patch: The number of values that are copied from the frame.
        four: The statements that compute four sums.
    """

    sums: str
    before: str = ""
    patch: int = 0
    four: str = ""


def latest(net: IntegerNet, source: int) -> str:
    """The position of the latest step of values, as an expression of C."""
    return f"net->at{source}" if net.depth(source) > 1 else "0"


def edge_text(parts: Parts, net: IntegerNet, layer: Layer, edge: Weights, label: str) -> EdgeText:
    """The text of an edge.

    Args:
        parts: The parts of `net.c`.
        net: The net.
        layer: The layer of the edge.
        edge: The edge.
        label: Ending of the names of its tables; it ends in 0 for the first edge of the layer.
    """
    source = net.values[edge.source]
    is_frame, adds = edge.source == 0, not label.endswith("_0")
    values: dict[str, Any] = {
        "label": label,
        "source": edge.source,
        "at": latest(net, edge.source),
        "outputs": layer.channels,
        "channels": source.channels,
        "word": source.word,
        "words": source.words,
        "factor": edge.factor,
    }
    if edge.delays is not None:
        return _delayed(parts, net, edge, values, adds=adds)

    over_time = [edge.weights.shape[1], edge.dilation, net.depth(edge.source), edge.offset]
    over_places = [*source.sizes, source.channels, source.words, *edge.weights.shape[2:4]]
    sums = [layer.channels, int(adds), edge.factor, int(not _fits_short(edge.rows))]
    numbers = ", ".join(map(str, [*over_time, *over_places, *edge.stride, *edge.padding, *sums]))
    parts.tables.append(f"#define WINDOW{label} ((nw_window){{{numbers}}})\n")
    if not is_frame:
        table = parts.table("int8_t", f"weights{label}", _by_blocks(edge.rows), is_aligned=True)
        parts.tables.append(_GATHER.format(weights=table, **values))
        return EdgeText(f"gather{label}(sums, net->spikes{edge.source}, {values['at']}, y, x);\n")

    values |= {"inputs": -(-edge.rows.shape[1] // 4) * 4, "row": layer.sizes[1]}
    copies = _PATCH.format(start="", place="place", **values)
    if layer.has_pairs:
        kind, rows, four = "int16_t", _by_groups(edge.rows, 2), _PAIR
        copies += _PATCH.format(start=f" + {values['inputs']}", place="next", **values)
        bias = np.pad(layer.bias, (0, layer.channels % 2))
        values["bias"] = parts.table("int32_t", f"bias{label}", bias)
    else:
        # Weights of 8 bits, in the order in which they are unpacked.
        kind, rows, four = "int8_t", _by_groups(edge.rows, 4)[..., [0, 2, 1, 3]], _FOUR
    values["weights"] = parts.table(kind, f"weights{label}", rows.flatten(), is_aligned=True)

    if not layer.needs_frame_only:
        copies += _ALL_FOURS.format(to="sums + four", **values)
    patch = values["inputs"] * (2 if layer.has_pairs else 1)
    return EdgeText(copies, patch=patch, four=four.format(to="sums", **values))


def _delayed(
    parts: Parts, net: IntegerNet, edge: Weights, values: dict[str, Any], *, adds: bool
) -> EdgeText:
    """The text of dense weights with delays, which send charges to later steps."""
    assert edge.delays is not None
    label, depth = values["label"], edge.waiting_steps
    source = net.values[edge.source]
    largest = 127 if edge.source == 0 else 1
    bound = np.abs(edge.rows).sum(axis=1).max() * largest * edge.factor
    charge = "int16_t" if bound <= MAX_SHORT else "int32_t"
    delay = "uint8_t" if depth <= 256 else "uint16_t"
    parts.fields.append((charge, f"waiting{label}", depth * values["outputs"]))
    parts.fields.append(("uint16_t", f"now{label}", 0))

    if edge.offset:
        last = net.depth(edge.source) - 1
        values["at"] = f"({values['at']} ? {values['at']} - 1 : {last})"
    values |= {
        "charge": charge,
        "depth": depth,
        "size": source.size,
        "all_words": source.places * source.words,
        "weights": parts.table("int8_t", f"weights{label}", edge.rows.T.flatten()),
        "delays": parts.table(delay, f"delays{label}", edge.delays.T.flatten()),
        "sum": "sums[c] + " if adds else "",
        "send": f"send{label}(net->waiting{label}, net->now{label}, ",
    }
    parts.tables.append(_SEND.format(**values))
    before = (_SEND_SPIKES if edge.source else _SEND_VALUES).format(**values)
    return EdgeText(_TAKE.format(**values), before)


def _fits_short(rows: np.ndarray) -> bool:
    """Whether any sum of rows fits into 16 bits."""
    bound = max(rows.clip(0).sum(axis=1).max(), (-rows).clip(0).sum(axis=1).max())
    return bool(bound <= MAX_SHORT)


def _by_blocks(rows: np.ndarray) -> np.ndarray:
    """Weights [C', inputs] as [block of outputs][input][output].

    The outputs of the last block are padded to a multiple of four.
    """
    columns = np.pad(rows.T, ((0, 0), (0, -len(rows) % 4)))
    blocks = np.split(columns, range(BLOCK, columns.shape[1], BLOCK), axis=1)
    return np.concatenate([block.flatten() for block in blocks])


def _by_groups(rows: np.ndarray, size: int) -> np.ndarray:
    """Weights [C', inputs] as [group of outputs, four inputs, output, input]."""
    rows = np.pad(rows, ((0, -len(rows) % 4), (0, -rows.shape[1] % 4)))
    return rows.reshape(len(rows) // size, size, -1, 4).swapaxes(1, 2)


_PATCH = """\
nw_patch(patch{label}.list{start}, WINDOW{label}, net->frame, {at},
         {place} / {row}, {place} % {row});
"""

_FOUR = """\
nw_values({to}, WINDOW{label}, {inputs}, {weights} + four * {inputs}, patch{label}.list);
"""

_ALL_FOURS = f"""\
for (int four = 0; four < {{outputs}}; four += 4)
    {_FOUR}"""

_PAIR = """\
nw_values_of_two(sums, {inputs}, {weights} + four * {inputs}, patch{label}.list, {bias} + four);
"""

_GATHER = """\
static NW_SEPARATE void gather{label}(int32_t *sums, const {word} *ring, int now, int y, int x)
{{
    nw_spikes(sums, WINDOW{label}, {weights}, ring, now, y, x);
}}
"""

# Charges wait in a ring of steps, [depth][outputs].
_SEND = """\
NW_INLINE void send{label}({charge} *waiting, int now, int i, int32_t x)
{{
    for (int c = 0; c < {outputs}; c++) {{
        const int at = now + {delays}[i * {outputs} + c];
        {charge} *sum = waiting + (at < {depth} ? at : at - {depth}) * {outputs} + c;
        *sum = ({charge})(*sum + x * {weights}[i * {outputs} + c]);
    }}
}}
"""

_SEND_VALUES = """\
const int8_t *values{label} = net->frame + {at} * {size};
for (int i = 0; i < {size}; i++)
    if (values{label}[i]) {send}i, values{label}[i] * {factor});
"""

_SEND_SPIKES = """\
const {word} *bits{label} = net->spikes{source} + {at} * {all_words};
for (int word = 0; word < {all_words}; word++)
    for (uint32_t left = bits{label}[word]; left; left &= left - 1u)
        {send}word / {words} * {channels} + word % {words} * 32 + nw_lowest(left), {factor});
"""

_TAKE = """\
for (int c = 0; c < {outputs}; c++) {{
    sums[c] = {sum}net->waiting{label}[net->now{label} * {outputs} + c];
    net->waiting{label}[net->now{label} * {outputs} + c] = 0;
}}
NW_ADVANCE(net->now{label}, {depth});
"""
