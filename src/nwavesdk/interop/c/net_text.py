"""The files `net.h` and `net.c` of an `IntegerNet`."""

import textwrap
from collections.abc import Sequence

import numpy as np

from nwavesdk.data import Standard
from nwavesdk.interop.c.edge_text import edge_text, latest
from nwavesdk.interop.c.operations import MAX_SHORT, IntegerNet, Layer, Pool
from nwavesdk.interop.c.step_text import step_function
from nwavesdk.interop.c.tables import BYTES, Parts, c_float, scaled_number

__all__ = ["NetText"]

# Registers and variables of a step, measured on a Cortex-M4.
FIXED_STACK = 160


class NetText:
    """The texts of a net in C.

    Args:
        net: The net.
        name: Prefix of its functions and of its state.
        standard: The scale of a frame; None if its values are on the scale of the net already.

    Attributes:
        net: The net.
        name: The prefix.
        fields: Fields of the state: type, name and length; 0 for a single number.
        flash: Bytes of each operation's tables, for the frame of its scale and its order.
        stack: Bytes of the stack that a step needs, about.
    """

    def __init__(self, net: IntegerNet, name: str, standard: Standard | None = None) -> None:
        self.net, self.name = net, name
        self.stack = 0
        self.flash: list[int] = []
        self._parts = Parts()
        self._init: list[str] = []
        self._value = self._row_value(standard)
        functions, steps, before = [], [], 0
        for k, values in enumerate(net.values):
            self._store(k)
            if isinstance(values, Layer):
                functions.append(self._layer(k, values))
            elif isinstance(values, Pool):
                functions.append(self._pool(k, values))
            steps.append(f"layer{k}(net, outputs);\n" if k else self._store_frame())
            self.flash.append(self._parts.flash - before)
            before = self._parts.flash
        rings = [(k, net.depth(k)) for k in range(len(net.values)) if net.depth(k) > 1]
        advance = [f"NW_ADVANCE(net->at{k}, {depth});\n" for k, depth in rings]
        self._functions, self._steps = functions, [*advance, *steps]

        # Without gaps, the larger types first.
        self.fields = sorted(self._parts.fields, key=lambda entry: -BYTES[entry[0]])

    # Files

    @property
    def ram(self) -> int:
        """Bytes of the state."""
        probe = 4
        total = probe + sum(BYTES[kind] * max(1, size) for kind, _, size in self.fields)
        return -(-total // 4) * 4

    def header(self) -> str:
        """The text of `net.h`."""
        return _HEADER.format(
            name=self.name,
            upper=self.name.upper(),
            inputs=self.net.values[0].size,
            outputs=self.net.output.size,
            steps_per_unit=c_float(1 / self.net.step),
            fields="".join(
                f"    {kind} {label}{f'[{size}]' if size else ''};\n"
                for kind, label, size in self.fields
            ),
        )

    def source(self) -> str:
        """The text of `net.c`."""
        return _SOURCE.format(
            name=self.name,
            upper=self.name.upper(),
            tables="\n".join(self._parts.tables),
            functions="\n".join(self._functions),
            init=_indented(self._init, 1),
            step=_indented(self._steps, 1),
            value=self._value,
        )

    # Operations

    def _row_value(self, standard: Standard | None) -> str:
        """A value of a row on the scale of the net, as an expression of C."""
        if standard is None:
            return "row[c]"
        size = self.net.values[0].size
        mean = self._parts.constant("mean", standard.mean, size)
        deviation = self._parts.constant("deviation", standard.deviation, size)
        return f"(row[c] - {mean}) / {deviation}"

    def _store(self, k: int) -> None:
        """Add the values of an operation to the state, if another operation reads them."""
        values, depth = self.net.values[k], self.net.depth(k)
        if k == 0:
            self._parts.fields.append(("int8_t", "frame", depth * values.size))
        elif depth:
            self._parts.fields.append(
                (values.word, f"spikes{k}", depth * values.places * values.words)
            )
        if depth > 1:
            self._parts.fields.append(("uint16_t", f"at{k}", 0))

    def spikes(self, k: int) -> str:
        """The latest spikes of an operation, as an expression of C."""
        values = self.net.values[k]
        return f"net->spikes{k} + {latest(self.net, k)} * {values.places * values.words}"

    def _store_frame(self) -> str:
        frame, positions = self.net.values[0], np.argsort(self.net.frame_order)
        turned = np.arange(frame.size).reshape(frame.channels, -1).T.flatten()
        if np.array_equal(positions, np.arange(frame.size)):
            index = "i"
        elif np.array_equal(positions, turned):
            index = f"i % {frame.channels} * {frame.places} + i / {frame.channels}"
        else:
            index = f"{self._parts.table('uint16_t', 'order0', positions)}[i]"
        return _STORE.format(size=frame.size, at=latest(self.net, 0), index=index)

    def _pool(self, k: int, pool: Pool) -> str:
        return _POOL.format(
            k=k,
            name=self.name,
            title=pool.name,
            out=self.spikes(k),
            bits=self.spikes(pool.source),
            height=pool.sizes[0],
            width=pool.sizes[1],
            word=pool.word,
            words=pool.words,
            kernel=pool.kernel,
            stride=pool.stride,
            row=self.net.values[pool.source].sizes[1],
        )

    def _layer(self, k: int, layer: Layer) -> str:
        padded = -(-layer.channels // 4) * 4
        # The frame comes first.
        edges = sorted(layer.edges, key=lambda edge: edge.source)
        labels = [f"{k}_{j}" for j in range(len(edges))]
        texts = [
            edge_text(self._parts, self.net, layer, edge, label)
            for edge, label in zip(edges, labels, strict=True)
        ]
        patches = [
            f"union {{ int16_t list[{text.patch}]; uint32_t align; }} patch{label};\n"
            for text, label in zip(texts, labels, strict=True)
            if text.patch
        ]
        arrays = 2 * sum(text.patch for text in texts) + (
            0 if layer.needs_frame_only else 4 * padded
        )
        self.stack = max(self.stack, FIXED_STACK + arrays)

        is_stored = self.net.depth(k) > 0
        return (_FOURS if layer.needs_frame_only else _PLACES).format(
            k=k,
            name=self.name,
            title=layer.name or "the output",
            patches=_indented(patches, 1),
            before=_indented([text.before for text in texts], 1),
            bits=self.spikes(k) if is_stored else "NULL",
            places=layer.places,
            row=layer.sizes[1],
            channels=layer.channels,
            padded=padded,
            word=layer.word,
            words=layer.words,
            sums=_indented([text.sums for text in texts], 2),
            four=_indented([text.four for text in texts], 4),
            together=1 + layer.has_pairs,
            result=self._result(k, layer),
            output=self._output(layer) if layer is self.net.output else "",
            is_stored=int(is_stored),
        )

    def _result(self, k: int, layer: Layer) -> str:
        """The spike, the membrane or the sum of a neuron, as an expression of C."""
        charge = "sum"
        # Sums of two places have the bias already.
        if layer.bias.any() and not layer.has_pairs:
            kind = "int16_t" if np.abs(layer.bias).max() <= MAX_SHORT else "int32_t"
            charge = f"(sum + {self._parts.table(kind, f'bias{k}', layer.bias)}[c])"
        assert layer.units is not None
        if (layer.units == layer.units[0]).all():
            scaled = scaled_number(charge, layer.units[0])
        else:
            scaled = f"(float){charge} * {self._parts.table('float', f'unit{k}', layer.units)}[c]"
        if layer.neuron is None:
            return scaled

        arguments = [scaled]
        for i, initial in enumerate(layer.neuron.step.initial):
            state = f"state{k}_{i}"
            self._parts.fields.append(("float", state, layer.size))
            arguments.append(f"&net->{state}[n]")
            if initial:
                value = c_float(initial)
                self._init.append(_INIT.format(size=layer.size, state=state, initial=value))

        self._parts.tables.append(step_function(layer.neuron, f"neuron{k}"))
        for i, constant in enumerate(layer.constants):
            label = f"constant{k}_{i}"
            arguments.append(self._parts.constant(label, constant, layer.channels))
        return f"neuron{k}({', '.join(arguments)})"

    def _output(self, layer: Layer) -> str:
        """The statement that writes an output."""
        position = np.argsort(layer.order.flatten())
        if np.array_equal(position, np.arange(layer.size)):
            return "outputs[n] = result;"
        return f"outputs[{self._parts.table('uint16_t', 'order', position)}[n]] = result;"


def _indented(texts: Sequence[str], levels: int) -> str:
    return textwrap.indent("".join(texts), " " * 4 * levels)


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
{fields}}} {name}_state;

/* Starts a net; call it before the first frame of each recording. */
void {name}_init({name}_state *net);

/* One step: a frame in units of its step, from -127 to 127; outputs has {outputs} numbers. */
void {name}_step({name}_state *net, const int8_t *frame, float *outputs);

/* A frame from a row of {inputs} values. README.md has their scale. */
void {name}_scale(const float *row, int8_t *frame);

/* A value on the scale of the net in units of the step of a frame. */
int8_t {name}_input(float value);

#endif
"""

_SOURCE = """\
/* A spiking net, written by nwavesdk. See README.md. */
#include "nwave_rt.h"
#include "{name}.h"

{tables}
{functions}
void {name}_init({name}_state *net)
{{
    memset(net, 0, sizeof *net);
{init}}}

void {name}_step({name}_state *net, const int8_t *frame, float *outputs)
{{
{step}}}

void {name}_scale(const float *row, int8_t *frame)
{{
    for (int c = 0; c < {upper}_INPUTS; c++) frame[c] = {name}_input({value});
}}

int8_t {name}_input(float value)
{{
    return nw_round(value, {upper}_STEPS_PER_UNIT);
}}
"""

_STORE = """\
for (int i = 0; i < {size}; i++) net->frame[{at} * {size} + i] = frame[{index}];
"""

_INIT = """\
for (int n = 0; n < {size}; n++) net->{state}[n] = {initial};
"""

_POOL = """\
/* {title}: the maximum of spikes over windows of places. */
static NW_SEPARATE void layer{k}({name}_state *net, float *outputs)
{{
    const {word} *bits = {bits};
    {word} *out = {out};
    (void)outputs;
    for (int y = 0; y < {height}; y++)
        for (int x = 0; x < {width}; x++)
            for (int word = 0; word < {words}; word++, out++) {{
                *out = 0;
                for (int ky = y * {stride[0]}; ky < y * {stride[0]} + {kernel[0]}; ky++)
                    for (int kx = x * {stride[1]}; kx < x * {stride[1]} + {kernel[1]}; kx++)
                        *out = *out | bits[(ky * {row} + kx) * {words} + word];
            }}
}}
"""

_PLACES = """\
/* {title} */
static NW_SEPARATE void layer{k}({name}_state *net, float *outputs)
{{
{patches}    {word} *bits = {bits};
    int32_t sums[{padded}];
    (void)outputs, (void)bits;
{before}    for (int place = 0; place < {places}; place++) {{
        const int y = place / {row}, x = place % {row};
        (void)y, (void)x;
{sums}        for (int first = 0; first < {channels}; first += 32) {{
            const int end = first + 32 < {channels} ? first + 32 : {channels};
            uint32_t fired = 0, bit = 1;
            for (int c = first; c < end; c++, bit <<= 1) {{
                const int n = place * {channels} + c;
                const int32_t sum = sums[c];
                const float result = {result};
                if (result > 0.0f) fired |= bit;
                {output}
            }}
            if ({is_stored}) bits[place * {words} + first / 32] = ({word})fired;
        }}
    }}
    if ({is_stored} && net->probe) nw_force(bits, {places}, {channels}, &net->probe);
}}
"""

# Four neurons at a time: four outputs at a place, or two outputs at two places. Of an odd number of
# places, the last one is computed twice.
_FOURS = """\
/* {title} */
static NW_SEPARATE void layer{k}({name}_state *net, float *outputs)
{{
{patches}    {word} *bits = {bits};
    (void)outputs, (void)bits;
    for (int place = 0; place < {places}; place += {together}) {{
        const int is_last = {places} % {together} && place + 1 == {places};
        const int next = is_last ? place : place + {together} - 1;
{sums}        for (int first = 0; first < {channels}; first += 32) {{
            const int end = first + 32 < {channels} ? first + 32 : {channels};
            uint32_t fired[2] = {{0, 0}}, bit = 1;
            for (int four = first; four < end; four += 4 / {together}, bit <<= 4 / {together}) {{
                int32_t sums[4];
{four}                NW_UNROLL
                for (int k = 0; k < 4; k++) {{
                    const int of_next = {together} == 2 && k > 1, c = four + k - 2 * of_next;
                    const int n = (of_next ? next : place) * {channels} + c;
                    const int32_t sum = sums[k];
                    if ({channels} % 4 && c >= {channels}) continue;
                    if (of_next && is_last) continue;
                    const float result = {result};
                    if (result > 0.0f) fired[of_next] |= bit << (c - four);
                    {output}
                }}
            }}
            if (!{is_stored}) continue;
            bits[next * {words} + first / 32] = ({word})fired[1];
            bits[place * {words} + first / 32] = ({word})fired[0];
        }}
    }}
    if ({is_stored} && net->probe) nw_force(bits, {places}, {channels}, &net->probe);
}}
"""
