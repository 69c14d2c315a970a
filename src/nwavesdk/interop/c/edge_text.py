"""The charge of a layer as C: the tables of its weights, and the calls of the runtime.

The tables lie in the order in which the runtime header reads them.
"""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np

from nwavesdk.interop.c.operations import (
    MAX_SHORT,
    DelayedWeights,
    IntegerNet,
    LayerWeights,
    WindowWeights,
    divide_by_factor,
)
from nwavesdk.interop.c.step_text import c_float

__all__ = ["BYTES", "EdgeText", "c_list", "is_double"]

BYTES = {
    "float": 4,
    "int32_t": 4,
    "uint32_t": 4,
    "int16_t": 2,
    "uint16_t": 2,
    "int8_t": 1,
    "uint8_t": 1,
}
"""The size of each type of C."""

PAIR_WIDTH = 16  # outputs that a pass over spikes adds in pairs
MAX_BYTE = 127

# Weights of values are stored with 16 bits if so many places use them: they need no unpacking.
MIN_PLACES_OF_SHORTS = 4


def c_list(values: Iterable[object]) -> str:
    """Values between braces, in lines of up to 100 characters."""
    lines = [""]
    for value in values:
        if len(lines[-1]) > 90:
            lines.append("")
        lines[-1] += f"{value}, "
    return "{\n    " + "\n    ".join(line.rstrip() for line in lines) + "\n}"


def is_double(edge: LayerWeights, net: IntegerNet) -> bool:
    """Whether sums over a frame are computed for two places together, with weights of 16 bits."""
    if isinstance(edge, DelayedWeights) or not net.sources[edge.source].is_frame:
        return False
    _, integers = divide_by_factor(edge.weights)
    height, width = edge.out_sizes
    is_large = np.abs(integers).max(initial=0) > MAX_BYTE
    return bool(height * width >= MIN_PLACES_OF_SHORTS or is_large)


@dataclass
class EdgeText:
    """The texts of all edges of a net.

    Attributes:
        net: The net.
        name: Prefix of its functions and of its state.
        fields: Fields of the state: type, name and length; 0 for a single number.
        tables: Tables and functions of `net.c`.
        flash: Bytes of each operation's tables.
        declarations: Variables of the present layer.
    """

    net: IntegerNet
    name: str
    _: KW_ONLY
    fields: list[tuple[str, str, int]] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    flash: list[int] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)

    def latest(self, source: int) -> str:
        """The position of the latest step of a source, as an expression of C."""
        return f"net->at{source}" if self.net.depth(source) > 1 else "0"

    def latest_spikes(self, source: int) -> str:
        """The latest spikes of a source, as an expression of C."""
        spec = self.net.sources[source]
        return f"net->spikes{source} + {self.latest(source)} * {spec.places * spec.words}"

    # Edges

    def window(self, label: str, edge: WindowWeights, bias: np.ndarray, *, adds: bool) -> str:
        """The statements that compute the sums of a window; `bias` begins the sums of two places.

        Args:
            label: Ending of the names of its tables.
            edge: The edge.
            bias: Constant charges of the layer.
            adds: Whether the sums are added to those of other edges.
        """
        source, outputs = self.net.sources[edge.source], len(bias)
        is_of_two = is_double(edge, self.net)
        factor, weights = (1, edge.weights) if is_of_two else divide_by_factor(edge.weights)
        self.tables.append(self._window_macro(label, edge, factor, adds))
        inputs = -(-weights[0].size // 4) * 4
        values: dict[str, Any] = {
            "label": label,
            "source": edge.source,
            "at": self.latest(edge.source),
            "inputs": inputs,
        }

        if is_of_two:
            start = np.pad(bias, (0, outputs % 2))
            values["start"] = "NULL" if adds else self.table("int32_t", f"bias{label}", start)
            values["weights"] = self.weights(label, _by_fours(weights, 2), is_short=True)
            values |= {"places": edge.out_sizes[0] * edge.out_sizes[1], "row": edge.out_sizes[1]}
            self.declarations.append(_PATCH.format(label=label, size=2 * inputs))
            return _TWO_PLACES.format(**values)

        if source.is_frame:
            values["weights"] = self.weights(label, _by_fours(weights, 4), is_short=False)
            self.declarations.append(_PATCH.format(label=label, size=inputs))
            return _ONE_PLACE.format(**values)

        is_short = np.abs(weights).max(initial=0) > MAX_BYTE
        kind = "NW_PAIRS" if _fits_pairs(weights) else f"NW_WIDE{16 if is_short else 8}"
        block = PAIR_WIDTH if kind == "NW_PAIRS" else outputs
        values["weights"] = self.weights(label, _by_blocks(weights, block), is_short=is_short)
        self.tables.append(_GATHER.format(name=self.name, kind=kind, **values))
        return f"gather{label}(sums, net, y, x);\n"

    def _window_macro(self, label: str, edge: WindowWeights, factor: int, adds: bool) -> str:
        """The shape of a window, as the runtime takes it."""
        outputs, taps, *kernel, channels = edge.weights.shape
        source = self.net.sources[edge.source]
        over_time = [taps, edge.dilation, self.net.depth(edge.source), edge.offset]
        places = [*edge.sizes, channels, source.words, *kernel, *edge.stride, *edge.padding]
        numbers = map(str, [*over_time, *places, outputs, int(adds), factor])
        return f"#define WINDOW{label} ((nw_window){{{', '.join(numbers)}}})\n"

    def delayed(self, label: str, edge: DelayedWeights, *, adds: bool) -> tuple[str, str]:
        """The statements that send charges to later steps, and that take the charges of a step.

        Args:
            label: Ending of the names of its tables.
            edge: The edge.
            adds: Whether the sums are added to those of other edges.
        """
        source, outputs = self.net.sources[edge.source], len(edge.weights)
        factor, integers = divide_by_factor(edge.weights)
        is_short = bool(np.abs(integers).max(initial=0) > MAX_BYTE)
        bound = np.abs(edge.weights).sum(axis=1).max() * source.max_value

        weight = "int16_t" if is_short else "int8_t"
        delay = "uint8_t" if edge.depth <= 256 else "uint16_t"
        charge = "int16_t" if bound <= MAX_SHORT else "int32_t"
        self.tables.append(f"NW_DELAY_FUNCTION(delay{label}, {weight}, {delay}, {charge})\n")
        self.fields.append((charge, f"waiting{label}", edge.depth * outputs))
        self.fields.append(("uint16_t", f"now{label}", 0))

        at = self.latest(edge.source)
        before = f"({at} ? {at} - 1 : {self.net.depth(edge.source) - 1})"
        values = {
            "label": label,
            "source": edge.source,
            "outputs": outputs,
            "depth": edge.depth,
            "at": before if edge.offset else at,
            "size": source.size,
            "words": source.words,
            "all_words": source.places * source.words,
            "channels": source.channels,
            "factor": factor,
            "weights": self.weights(label, integers.T.flatten(), is_short=is_short),
            "delays": self.table(delay, f"delays{label}", edge.delays.T.flatten()),
            "sum": "sums[c] + " if adds else "",
        }
        send = _SEND_VALUES if source.is_frame else _SEND_SPIKES
        return send.format(**values), _TAKE.format(**values)

    # Tables

    def weights(self, label: str, values: np.ndarray, *, is_short: bool) -> str:
        """Add a table of weights that starts at a word; returns its name."""
        kind = "int16_t" if is_short else "int8_t"
        self.flash[-1] += values.size * BYTES[kind]
        content = c_list(values.tolist())
        text = _WEIGHTS.format(kind=kind, size=values.size, label=label, content=content)
        self.tables.append(text)
        return f"weights{label}.list"

    def table(self, kind: str, label: str, values: np.ndarray) -> str:
        """Add a table; returns its name."""
        entries = map(c_float, values) if kind == "float" else values.tolist()
        self.flash[-1] += len(values) * BYTES[kind]
        self.tables.append(f"static const {kind} {label}[{len(values)}] = {c_list(entries)};\n")
        return label

    def constant(self, label: str, values: np.ndarray, channels: int) -> str:
        """A constant of neurons, float32 [places * C]: a literal, or an element of a table.

        Multiples of 2^-8 from 0 to 1, such as rounded decays, take a byte, and those of 2^-16 two.
        """
        if (values == values[0]).all():
            return c_float(values[0])

        index = "n"
        if (values.reshape(-1, channels) == values[:channels]).all():
            values, index = values[:channels], "c"

        for kind, bits in (("uint8_t", 8), ("uint16_t", 16)):
            scaled = values.astype(np.float64) * 2.0**bits
            is_whole = bool((scaled == np.rint(scaled)).all())
            if is_whole and scaled.min() >= 0 and scaled.max() < 2**bits:
                table = self.table(kind, label, scaled.astype(int))
                return f"(float){table}[{index}] * {c_float(2.0**-bits)}"
        return f"{self.table('float', label, values)}[{index}]"


def _fits_pairs(weights: np.ndarray) -> bool:
    """Whether weights fit into 8 bits, and any sum of rows into 16."""
    rows = weights.reshape(len(weights), -1)
    bound = max(rows.clip(0).sum(axis=1).max(), (-rows).clip(0).sum(axis=1).max())
    return bool(np.abs(rows).max(initial=0) <= MAX_BYTE and bound <= MAX_SHORT)


def _by_blocks(weights: np.ndarray, block: int) -> np.ndarray:
    """Weights [C', taps, height, width, C] as [block of outputs][tap][place][input][output].

    The outputs of the last block are padded to a multiple of four, except for a single block.
    """
    rows = weights.reshape(len(weights), -1).T
    if block == len(weights):
        return rows.flatten()
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    starts = range(0, rows.shape[1], block)
    return np.concatenate([rows[:, start : start + block].flatten() for start in starts])


def _by_fours(weights: np.ndarray, group: int) -> np.ndarray:
    """Weights [C', ...] in groups of outputs, with four inputs of each output at a time.

    Weights of 8 bits, with four outputs, lie in the order in which they are unpacked.
    """
    rows = weights.reshape(len(weights), -1)
    rows = np.pad(rows, ((0, -len(rows) % 4), (0, -rows.shape[1] % 4)))
    fours = rows.reshape(len(rows) // group, group, -1, 4).swapaxes(1, 2)
    return (fours[..., [0, 2, 1, 3]] if group == 4 else fours).flatten()


_WEIGHTS = """\
static const union {{ {kind} list[{size}]; uint32_t align; }} weights{label} = {{{content}}};
"""

_PATCH = """\
union {{ int16_t list[{size}]; uint32_t align; }} patch{label};
"""

_ONE_PLACE = """\
nw_patch(patch{label}.list, WINDOW{label}, net->frame{source}, {at}, y, x);
nw_values(sums, WINDOW{label}, {inputs}, {weights}, patch{label}.list);
"""

_TWO_PLACES = """\
if (!(place & 1)) {{
    const int next = place + 1 < {places} ? place + 1 : place;
    int16_t *patch = patch{label}.list;
    nw_patch(patch, WINDOW{label}, net->frame{source}, {at}, y, x);
    nw_patch(patch + {inputs}, WINDOW{label}, net->frame{source}, {at}, next / {row}, next % {row});
    nw_values_of_two(both, WINDOW{label}, {inputs}, {weights}, patch, {start});
}}
"""

_GATHER = """\
static NW_SEPARATE void gather{label}(int32_t *sums, const {name}_state *net, int y, int x)
{{
    nw_spikes(sums, WINDOW{label}, {kind}, {weights}, net->spikes{source}, {at}, y, x);
}}
"""

_SEND_VALUES = """\
const int16_t *values{label} = net->frame{source} + {at} * {size};
for (int i = 0; i < {size}; i++)
    if (values{label}[i])
        delay{label}(net->waiting{label}, {depth}, net->now{label}, {outputs},
                     {weights} + i * {outputs}, {delays} + i * {outputs},
                     values{label}[i] * {factor});
"""

_SEND_SPIKES = """\
const uint32_t *bits{label} = net->spikes{source} + {at} * {all_words};
for (int word = 0; word < {all_words}; word++)
    for (uint32_t left = bits{label}[word]; left; left &= left - 1u) {{
        const int i = word / {words} * {channels} + word % {words} * 32 + NW_LOWEST(left);
        delay{label}(net->waiting{label}, {depth}, net->now{label}, {outputs},
                     {weights} + i * {outputs}, {delays} + i * {outputs}, {factor});
    }}
"""

_TAKE = """\
for (int c = 0; c < {outputs}; c++) {{
    sums[c] = {sum}net->waiting{label}[net->now{label} * {outputs} + c];
    net->waiting{label}[net->now{label} * {outputs} + c] = 0;
}}
net->now{label} = (uint16_t)(net->now{label} + 1 < {depth} ? net->now{label} + 1 : 0);
"""
