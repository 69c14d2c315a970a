"""The files `net.h` and `net.c` of an `IntegerNet`.

The tables of a layer lie in the order in which the runtime header reads them. A constant that all
neurons or all places share is a literal or a short table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nwavesdk.interop.c.operations import MAX_FRAME, Delayed, IntegerNet, Layer, Pool, Window
from nwavesdk.interop.c.step_text import c_float, step_function

__all__ = ["NetText", "c_list"]

PAIR_WIDTH = 16  # outputs that a pass over spikes adds in pairs
MAX_BYTE, MAX_SHORT = 127, 2**15 - 1

# Weights of values are stored with 16 bits if so many places use them: they need no unpacking.
MIN_PLACES_OF_SHORTS = 4


def c_list(values: Iterable[object]) -> str:
    """Values between braces, in lines of up to 100 characters."""
    lines = [""]
    for value in values:
        text = f"{value}, "
        if len(lines[-1]) + len(text) > 96:
            lines.append("")
        lines[-1] += text
    return "{\n    " + "\n    ".join(line.rstrip() for line in lines) + "\n}"


@dataclass
class NetText:
    """The texts of a net in C.

    Attributes:
        net: The net.
        name: Prefix of its functions and of its state.
        fields: Fields of the state: type, name and length; 0 for a single number.
        tables: Tables and functions of `net.c`.
        init: Statements that start the state.
        flash: Bytes of each operation's tables.
    """

    net: IntegerNet
    name: str
    fields: list[tuple[str, str, int]] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    init: list[str] = field(default_factory=list)
    flash: list[int] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)  # variables of the present layer

    def __post_init__(self) -> None:
        read = {edge.source for layer in self.net.layers for edge in layer.edges}
        read |= {pool.source for pool in self.net.operations if isinstance(pool, Pool)}
        self.stored = sorted(read)
        self.bodies = [self._operation(k, op) for k, op in enumerate(self.net.operations, 1)]

        for source in self.stored:
            spec, depth = self.net.sources[source], self.net.depth(source)
            kind, size = (
                ("int16_t", spec.size) if spec.is_frame else ("uint32_t", spec.places * spec.words)
            )
            self.fields.append(
                (kind, f"{'frame' if spec.is_frame else 'spikes'}{source}", depth * size)
            )
            if depth > 1:
                self.fields.append(("uint16_t", f"at{source}", 0))
        self.fields.sort(key=lambda f: -_BYTES[f[0]])

    # The state

    @property
    def ram(self) -> int:
        """Bytes of the state."""
        total = 4 + sum(_BYTES[kind] * max(1, size) for kind, _, size in self.fields)
        return -(-total // 4) * 4

    def header(self) -> str:
        """The text of `net.h`."""
        name = self.name
        fields = "\n".join(
            f"    {kind} {label}{f'[{size}]' if size else ''};" for kind, label, size in self.fields
        )
        return _HEADER.format(
            name=name,
            upper=name.upper(),
            inputs=self.net.sources[0].size,
            outputs=self.net.output.size,
            steps_per_unit=c_float(1 / self.net.step),
            fields=fields,
        )

    def source(self) -> str:
        """The text of `net.c`."""
        name = self.name
        rings = [(s, self.net.depth(s)) for s in self.stored if self.net.depth(s) > 1]
        advance = [
            f"net->at{s} = (uint16_t)(net->at{s} + 1 < {d} ? net->at{s} + 1 : 0);" for s, d in rings
        ]
        calls = [
            f"layer{k}(net{', outputs' if op is self.net.output else ''});"
            for k, op in enumerate(self.net.operations, 1)
        ]
        return _SOURCE.format(
            name=name,
            upper=name.upper(),
            tables="\n".join(self.tables),
            bodies="\n".join(self.bodies),
            init="".join(f"    {line}\n" for line in self.init),
            step="".join(f"    {line}\n" for line in [*advance, self._store_frame(), *calls]),
        )

    def _store_frame(self) -> str:
        size = self.net.sources[0].size
        order = self.net.frame_order
        index = "i"
        if not np.array_equal(order, np.arange(size)):
            channels = int(order[1])  # the second place follows all channels of the first
            index = f"i % {channels} * {size // channels} + i / {channels}"
        target = f"net->frame0[{self._at(0)} * {size} + i]"
        return f"for (int i = 0; i < {size}; i++) {target} = frame[{index}];"

    def _at(self, source: int) -> str:
        return f"net->at{source}" if self.net.depth(source) > 1 else "0"

    # Operations

    def _operation(self, k: int, operation: Layer | Pool) -> str:
        self.flash.append(0)
        return (
            self._pool(k, operation) if isinstance(operation, Pool) else self._layer(k, operation)
        )

    def _pool(self, k: int, pool: Pool) -> str:
        source = self.net.sources[pool.source]
        (height, width), (kernel_y, kernel_x), (stride_y, stride_x) = (
            pool.sizes,
            pool.kernel,
            pool.stride,
        )
        out_y, out_x = (height - kernel_y) // stride_y + 1, (width - kernel_x) // stride_x + 1
        return _POOL.format(
            k=k,
            name=self.name,
            title=pool.name,
            out=self.latest_spikes(pool.target),
            bits=self.latest_spikes(pool.source),
            numbers=", ".join(
                map(
                    str, [width, source.words, out_y, out_x, kernel_y, kernel_x, stride_y, stride_x]
                )
            ),
        )

    def latest_spikes(self, source: int) -> str:
        """The latest spikes of a source, as an expression of C."""
        spec = self.net.sources[source]
        at = self._at(source)
        return f"net->spikes{source}" + (
            "" if at == "0" else f" + {at} * {spec.places * spec.words}"
        )

    def _layer(self, k: int, layer: Layer) -> str:
        layer = self._with_common_unit(layer)
        before, sums = [], []
        self.declarations = []
        for j, edge in enumerate(sorted(layer.edges, key=lambda edge: edge.source)):
            if isinstance(edge, Window):
                sums += self._window(f"{k}_{j}", edge, layer.bias, adds=j > 0)
            else:
                first, then = self._delayed(f"{k}_{j}", edge, layer.channels, adds=j > 0)
                before += first
                sums += then

        charge = "sums[c]"
        if layer.bias.any() and "nw_values_of_two" not in "".join(sums):
            kind = "int16_t" if np.abs(layer.bias).max() <= MAX_SHORT else "int32_t"
            charge = f"(sums[c] + {self._table(kind, f'bias{k}', layer.bias)}[c])"
        scales = np.exp2(layer.exponents.astype(np.float64))
        charge = f"(float){charge} * {self._constant(f'scale{k}', scales, layer, by_channel=True)}"

        result = charge
        if layer.neuron is not None:
            states = [f"state{k}_{i}" for i in range(len(layer.neuron.states))]
            for state, value in zip(states, layer.neuron.step.initial, strict=True):
                self.fields.append(("float", state, layer.size))
                if value:
                    self.init.append(
                        f"for (int n = 0; n < {layer.size}; n++) net->{state}[n] = {c_float(value)};"
                    )
            self.tables.append(step_function(layer.neuron, f"neuron{k}"))
            constants = [
                self._constant(f"constant{k}_{i}", values, layer)
                for i, values in enumerate(layer.constants)
            ]
            pointers = [f"&net->{state}[n]" for state in states]
            result = f"neuron{k}({', '.join([charge, *pointers, *constants])})"
        return self._layer_text(k, layer, before, sums, result)

    def _layer_text(
        self, k: int, layer: Layer, before: list[str], sums: list[str], result: str
    ) -> str:
        stores = layer.target in self.stored
        windows = [edge for edge in layer.edges if isinstance(edge, Window)]
        uses = [f"const float result = {result};"]
        is_output = k == len(self.net.operations)
        if is_output:
            place = "n"
            if not np.array_equal(layer.order.flatten(), np.arange(layer.size)):
                position = np.argsort(layer.order.flatten())
                place = f"{self._table('uint16_t', f'order{k}', position)}[n]"
            uses.append(f"outputs[{place}] = result;")
        if stores:
            uses += ["if (result > 0.0f) fired |= bit;", "bit <<= 1;"]

        width = layer.channels
        words = -(-width // 32)
        neurons = "\n".join(f"                {line}" for line in uses)
        store = f"bits[place * {words} + word] = fired;" if stores else ""
        force = ""
        if stores:
            spec = self.net.sources[layer.target or 0]
            force = f"    if (net->probe) nw_force(bits, {spec.places}, {words}, {width}, &net->probe);\n"
        return _LAYER.format(
            k=k,
            name=self.name,
            title=layer.name or "sums",
            output=", float *outputs" if is_output else "",
            bits=f"    uint32_t *bits = {self.latest_spikes(layer.target or 0)};\n"
            if stores
            else "",
            before="".join(f"    {line}\n" for line in before),
            places=layer.places,
            place=_PLACE.format(row=layer.sizes[1]) if windows else "",
            declarations="".join(f"    {line}\n" for line in self.declarations),
            padded=-(-width // 4) * 4,
            channels=width,
            words=words,
            sums="".join(f"        {line}\n" for line in sums),
            fired="            uint32_t fired = 0, bit = 1;\n" if stores else "",
            neurons=neurons,
            store=store,
            force=force,
        )

    # Edges

    def _window(self, label: str, edge: Window, bias: np.ndarray, *, adds: bool) -> list[str]:
        outputs = len(bias)
        source = self.net.sources[edge.source]
        is_by_two = source.is_frame and self._is_by_two(edge)
        factor, integers = (1, edge.weights) if is_by_two else _common_factor(edge.weights)
        _, taps, height, width, channels = integers.shape
        numbers = [
            taps,
            edge.dilation,
            self.net.depth(edge.source),
            edge.offset,
            *edge.sizes,
            channels,
            source.words,
            height,
            width,
            *edge.stride,
            *edge.padding,
            outputs,
            int(adds),
            factor,
        ]
        self.tables.append(
            f"#define WINDOW{label} ((nw_window){{{', '.join(map(str, numbers))}}})\n"
        )
        largest = np.abs(integers).max(initial=0)
        where = f"{self._at(edge.source)}, y, x"

        if is_by_two:
            inputs = -(-integers[0].size // 4) * 4
            table = self._weights(label, _by_fours(integers, 2), is_short=True)
            self.declarations += [
                f"union {{ int16_t list[{2 * inputs}]; uint32_t align; }} patch{label};"
            ]
            n_places, row = edge.out_sizes[0] * edge.out_sizes[1], edge.out_sizes[1]
            patch = f"nw_patch(patch{label}.list"
            start = (
                "NULL"
                if adds
                else self._table("int32_t", f"bias{label}", np.pad(bias, (0, outputs % 2)))
            )
            frame = f"WINDOW{label}, net->frame{edge.source}, {self._at(edge.source)}"
            return [
                "if (!(place & 1)) {",
                f"    const int next = place + 1 < {n_places} ? place + 1 : place;",
                f"    {patch}, {frame}, y, x);",
                f"    {patch} + {inputs}, {frame}, next / {row}, next % {row});",
                f"    nw_values_of_two(both, WINDOW{label}, {inputs}, {table}, patch{label}.list, {start});",
                "}",
            ]
        if source.is_frame:
            inputs = -(-integers[0].size // 4) * 4
            table = self._weights(label, _by_fours(integers, 4), is_short=False)
            self.declarations += [
                f"union {{ int16_t list[{inputs}]; uint32_t align; }} patch{label};"
            ]
            return [
                f"nw_patch(patch{label}.list, WINDOW{label}, net->frame{edge.source}, {where});",
                f"nw_values(sums, WINDOW{label}, {inputs}, {table}, patch{label}.list);",
            ]

        kind = (
            "NW_PAIRS"
            if _fits_pairs(integers, largest)
            else f"NW_WIDE{8 if largest <= MAX_BYTE else 16}"
        )
        block = PAIR_WIDTH if kind == "NW_PAIRS" else outputs
        table = self._weights(label, _by_blocks(integers, block), kind == "NW_WIDE16")
        ring = f"net->spikes{edge.source}, {self._at(edge.source)}"
        self.tables.append(
            f"static NW_SEPARATE void gather{label}(int32_t *sums, const {self.name}_state *net, "
            f"int y, int x)\n{{\n    nw_spikes(sums, WINDOW{label}, {kind}, {table}, {ring}, y, x);\n}}\n"
        )
        return [f"gather{label}(sums, net, y, x);"]

    def _is_by_two(self, edge: Window) -> bool:
        """Whether the sums of two places are computed together, with weights of 16 bits."""
        n_places = edge.out_sizes[0] * edge.out_sizes[1]
        _, integers = _common_factor(edge.weights)
        return bool(n_places >= MIN_PLACES_OF_SHORTS or np.abs(integers).max() > MAX_BYTE)

    def _with_common_unit(self, layer: Layer) -> Layer:
        """A layer of 16-bit weights with one unit for all channels, where the numbers fit."""
        edge = layer.edges[0]
        if (
            len(layer.edges) > 1
            or isinstance(edge, Delayed)
            or not self.net.sources[edge.source].is_frame
        ):
            return layer

        factors = np.exp2(layer.exponents - layer.exponents.min()).astype(np.int64)
        weights = edge.weights * factors.reshape(-1, 1, 1, 1, 1)
        bias = layer.bias * factors
        sums = np.abs(weights).reshape(len(bias), -1).sum(axis=1) * MAX_FRAME + np.abs(bias)
        fits = np.abs(weights).max() <= MAX_SHORT and sums.max() < 2**31
        if not fits or not self._is_by_two(edge):
            return layer
        exponents = np.full_like(layer.exponents, layer.exponents.min())
        return replace(
            layer, edges=(replace(edge, weights=weights),), bias=bias, exponents=exponents
        )

    def _delayed(
        self, label: str, edge: Delayed, outputs: int, *, adds: bool
    ) -> tuple[list[str], list[str]]:
        source, depth = self.net.sources[edge.source], edge.depth
        factor, integers = _common_factor(edge.weights)
        largest = np.abs(integers).max(initial=0)
        bound = np.abs(edge.weights).sum(axis=1).max() * source.max_value
        kinds = [
            "int8_t" if largest <= MAX_BYTE else "int16_t",
            "uint8_t" if depth <= 256 else "uint16_t",
            "int16_t" if bound <= MAX_SHORT else "int32_t",
        ]
        self.tables.append(f"NW_DELAY_FUNCTION(delay{label}, {', '.join(kinds)})\n")
        weights = self._weights(label, integers.T.flatten(), kinds[0] == "int16_t")
        delays = self._table(kinds[1], f"delays{label}", edge.delays.T.flatten())
        self.fields.append((kinds[2], f"waiting{label}", depth * outputs))
        self.fields.append(("uint16_t", f"now{label}", 0))

        add = f"delay{label}(net->waiting{label}, {depth}, net->now{label}, {outputs}, {weights} + i * {outputs}, {delays} + i * {outputs}, {{}});"
        if source.is_frame:
            loop = [
                f"const int16_t *values{label} = net->frame{edge.source} + {self._at(edge.source)} * {source.size};",
                f"for (int i = 0; i < {source.size}; i++)",
                f"    if (values{label}[i]) " + add.format(f"values{label}[i] * {factor}"),
            ]
        else:
            per_place = source.words
            past = self._at(edge.source)
            if edge.offset:
                past = f"({past} ? {past} - 1 : {self.net.depth(edge.source) - 1})"
            loop = [
                f"const uint32_t *from{label} = net->spikes{edge.source} + {past} * {source.places * per_place};",
                f"for (int word = 0; word < {source.places * per_place}; word++)",
                f"    for (uint32_t left = from{label}[word]; left; left &= left - 1u) {{",
                f"        const int i = word / {per_place} * {source.channels} + word % {per_place} * 32 + NW_LOWEST(left);",
                "        " + add.format(factor),
                "    }",
            ]
        take = [
            f"for (int c = 0; c < {outputs}; c++) {{",
            f"    sums[c] = {'sums[c] + ' if adds else ''}net->waiting{label}[net->now{label} * {outputs} + c];",
            f"    net->waiting{label}[net->now{label} * {outputs} + c] = 0;",
            "}",
            f"net->now{label} = (uint16_t)(net->now{label} + 1 < {depth} ? net->now{label} + 1 : 0);",
        ]
        return loop, take

    # Tables

    def _weights(self, label: str, values: np.ndarray, is_short: bool) -> str:
        """A table of weights at the start of a word; returns its name."""
        kind = "int16_t" if is_short else "int8_t"
        self.flash[-1] += values.size * _BYTES[kind]
        self.tables.append(
            f"static const union {{ {kind} list[{values.size}]; uint32_t align; }} weights{label} = "
            f"{{{c_list(values.tolist())}}};\n"
        )
        return f"weights{label}.list"

    def _table(self, kind: str, label: str, values: Sequence[object] | np.ndarray) -> str:
        entries = values.tolist() if isinstance(values, np.ndarray) else values
        self.flash[-1] += len(entries) * _BYTES[kind]
        self.tables.append(f"static const {kind} {label}[{len(entries)}] = {c_list(entries)};\n")
        return label

    def _constant(
        self, label: str, values: np.ndarray, layer: Layer, *, by_channel: bool = False
    ) -> str:
        """A constant of neurons, as a literal or an element of a table."""
        if (values == values[0]).all():
            return c_float(values[0])
        index = "c" if by_channel else "n"
        if (
            not by_channel
            and (values.reshape(-1, layer.channels) == values[: layer.channels]).all()
        ):
            values, index = values[: layer.channels], "c"

        # Multiples of 2^-16 take half of the memory.
        scaled = values.astype(np.float64) * 2.0**16
        if (
            not by_channel
            and (scaled == np.rint(scaled)).all()
            and scaled.min() >= 0
            and scaled.max() < 2**16
        ):
            return f"(float){self._table('uint16_t', label, scaled.astype(int))}[{index}] * {c_float(2.0**-16)}"
        return f"{self._table('float', label, [c_float(v) for v in values])}[{index}]"


_BYTES = {
    "float": 4,
    "int32_t": 4,
    "uint32_t": 4,
    "int16_t": 2,
    "uint16_t": 2,
    "int8_t": 1,
    "uint8_t": 1,
}


def _common_factor(weights: np.ndarray) -> tuple[int, np.ndarray]:
    """The largest power of two that divides all weights, and the quotients."""
    every_bit = int(np.bitwise_or.reduce(np.abs(weights), axis=None))
    factor = every_bit & -every_bit or 1
    return factor, weights // factor


def _fits_pairs(weights: np.ndarray, largest: int) -> bool:
    """Whether any sum of rows fits into 16 bits."""
    rows = weights.reshape(len(weights), -1)
    bound = max(rows.clip(0).sum(axis=1).max(), (-rows).clip(0).sum(axis=1).max())
    return bool(largest <= MAX_BYTE and bound <= MAX_SHORT)


def _by_blocks(weights: np.ndarray, block: int) -> np.ndarray:
    """Weights [C', taps, height, width, C] in blocks of outputs: [block][tap][place][input][output].

    The outputs of the last block are padded to a multiple of four, except for a single block.
    """
    outputs = len(weights)
    rows = weights.reshape(outputs, -1).T
    if block == outputs and outputs % 4:
        return rows.flatten()
    rows = np.pad(rows, ((0, 0), (0, -outputs % 4)))
    return np.concatenate(
        [rows[:, c : c + block].flatten() for c in range(0, rows.shape[1], block)]
    )


def _by_fours(weights: np.ndarray, group: int) -> np.ndarray:
    """Weights [C', ...] in groups of outputs, with four inputs of each output at a time.

    Weights of 8 bits, with four outputs, lie in the order in which they are unpacked.
    """
    rows = weights.reshape(len(weights), -1)
    rows = np.pad(rows, ((0, -len(rows) % 4), (0, -rows.shape[1] % 4)))
    fours = rows.reshape(len(rows) // group, group, -1, 4).swapaxes(1, 2)
    return (fours[..., [0, 2, 1, 3]] if group == 4 else fours).flatten()


_HEADER = """\
/* A spiking net, written by nwavesdk. See README.md. */
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

#define {upper}_INPUTS {inputs}
#define {upper}_OUTPUTS {outputs}
#define {upper}_STEPS_PER_UNIT {steps_per_unit} /* a value of a frame is rounded to 1 / this */

/* The whole state of a net: several can run side by side. */
typedef struct {{
    uint32_t probe; /* of the self-test: 0, or the seed of random spikes */
{fields}
}} {name}_state;

/* Starts a net; call it before the first frame of each recording. */
void {name}_init({name}_state *net);

/* One step: a frame in units of its step, from -127 to 127; outputs has {outputs} numbers. */
void {name}_step({name}_state *net, const int8_t *frame, float *outputs);

/* A value of a frame in units of its step. */
int8_t {name}_input(float value);

#endif
"""

_SOURCE = """\
/* A spiking net, written by nwavesdk. See README.md. */
#include "nwave_rt.h"
#include "{name}.h"

{tables}
{bodies}
void {name}_init({name}_state *net)
{{
    memset(net, 0, sizeof *net);
{init}}}

void {name}_step({name}_state *net, const int8_t *frame, float *outputs)
{{
{step}}}

int8_t {name}_input(float value)
{{
    return nw_round(value, {upper}_STEPS_PER_UNIT);
}}
"""

_POOL = """\
/* {title}: the maximum of spikes. */
static void layer{k}({name}_state *net)
{{
    nw_pool({out}, {bits}, {numbers});
}}
"""

_PLACE = """\
        const int y = place / {row}, x = place % {row};
"""

# Sums of an even and an odd place, because some sums are computed for two places together.
_LAYER = """\
/* {title} */
static void layer{k}({name}_state *net{output})
{{
{bits}{declarations}    int32_t both[{padded} * 2];
{before}    for (int place = 0; place < {places}; place++) {{
{place}        int32_t *sums = both + (place & 1) * {padded};
{sums}        for (int word = 0; word < {words}; word++) {{
            const int end = word + 1 < {words} ? 32 * word + 32 : {channels};
{fired}            for (int c = 32 * word; c < end; c++) {{
                const int n = place * {channels} + c;
{neurons}
            }}
            {store}
        }}
    }}
{force}}}
"""
