"""The files `net.h` and `net.c` of an `IntegerNet`."""

import textwrap
from dataclasses import dataclass, field, replace

import numpy as np

from nwavesdk.interop.c.edge_text import BYTES, EdgeText, is_double
from nwavesdk.interop.c.operations import MAX_FRAME, MAX_SHORT, Layer, Pool, WindowWeights
from nwavesdk.interop.c.step_text import c_float, step_function

__all__ = ["NetText"]


@dataclass
class NetText(EdgeText):
    """The texts of a net in C.

    Attributes:
        init: Statements that start the state.
        stored: The sources that a step stores, because others read them.
        functions: The functions of the operations.
    """

    init: list[str] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        read = {edge.source for layer in self.net.layers for edge in layer.edges}
        read |= {pool.source for pool in self.net.operations if isinstance(pool, Pool)}
        self.stored = sorted(read)

        for k, operation in enumerate(self.net.operations, 1):
            self.flash.append(0)
            if isinstance(operation, Pool):
                self.functions.append(self._pool(k, operation))
            else:
                self.functions.append(self._layer(k, operation))

        for source in self.stored:
            spec, depth = self.net.sources[source], self.net.depth(source)
            if spec.is_frame:
                self.fields.append(("int16_t", f"frame{source}", depth * spec.size))
            else:
                size = depth * spec.places * spec.words
                self.fields.append(("uint32_t", f"spikes{source}", size))
            if depth > 1:
                self.fields.append(("uint16_t", f"at{source}", 0))

        # Without gaps, the larger types first.
        self.fields.sort(key=lambda entry: -BYTES[entry[0]])

    # Files

    @property
    def ram(self) -> int:
        """Bytes of the state."""
        probe = 4
        total = probe + sum(BYTES[kind] * max(1, size) for kind, _, size in self.fields)
        return -(-total // 4) * 4

    def header(self) -> str:
        """The text of `net.h`."""
        lengths = [f"[{size}]" if size else "" for _, _, size in self.fields]
        fields = [
            f"    {kind} {label}{length};"
            for (kind, label, _), length in zip(self.fields, lengths, strict=True)
        ]
        return _HEADER.format(
            name=self.name,
            upper=self.name.upper(),
            inputs=self.net.sources[0].size,
            outputs=self.net.output.size,
            steps_per_unit=c_float(1 / self.net.step),
            fields="\n".join(fields),
        )

    def source(self) -> str:
        """The text of `net.c`."""
        rings = [source for source in self.stored if self.net.depth(source) > 1]
        step = [_ADVANCE.format(source=source, depth=self.net.depth(source)) for source in rings]
        step.append(self._store_frame())
        last = len(self.functions)
        step += [f"layer{k}(net);\n" for k in range(1, last)]
        step.append(f"layer{last}(net, outputs);\n")
        return _SOURCE.format(
            name=self.name,
            upper=self.name.upper(),
            tables="\n".join(self.tables),
            functions="\n".join(self.functions),
            init=_indented(self.init, 1),
            step=_indented(step, 1),
        )

    def _store_frame(self) -> str:
        size, order = self.net.sources[0].size, self.net.frame_order
        index = "i"
        if not np.array_equal(order, np.arange(size)):
            channels = int(order[1])  # the second place follows all channels of the first
            index = f"i % {channels} * {size // channels} + i / {channels}"
        return _STORE.format(size=size, at=self.latest(0), index=index)

    # Operations

    def _pool(self, k: int, pool: Pool) -> str:
        height, width = pool.out_sizes
        words = self.net.sources[pool.source].words
        numbers = [pool.sizes[1], words, height, width, *pool.kernel, *pool.stride]
        return _POOL.format(
            k=k,
            name=self.name,
            title=pool.name,
            out=self.latest_spikes(pool.target),
            bits=self.latest_spikes(pool.source),
            numbers=", ".join(map(str, numbers)),
        )

    def _layer(self, k: int, layer: Layer) -> str:
        layer = self._with_common_unit(layer)
        self.declarations = []
        before, sums = [], []
        # The frame comes first, because its sums of two places are not added to others.
        for j, edge in enumerate(sorted(layer.edges, key=lambda edge: edge.source)):
            if isinstance(edge, WindowWeights):
                sums.append(self.window(f"{k}_{j}", edge, layer.bias, adds=j > 0))
            else:
                send, take = self.delayed(f"{k}_{j}", edge, adds=j > 0)
                before.append(send)
                sums.append(take)

        has_double = any(is_double(edge, self.net) for edge in layer.edges)
        stores, words = layer.target in self.stored, -(-layer.channels // 32)
        has_windows = any(isinstance(edge, WindowWeights) for edge in layer.edges)
        bits = self.latest_spikes(layer.target) if stores and layer.target is not None else "NULL"
        numbers = {"places": layer.places, "channels": layer.channels, "words": words}
        store = _STORE_BITS.format(words=words) if stores else ""
        return _LAYER.format(
            k=k,
            name=self.name,
            title=layer.name or "the output",
            output=", float *outputs" if k == len(self.net.operations) else "",
            bits=f"    uint32_t *bits = {bits};\n" if stores else "",
            declarations=_indented(self.declarations, 1),
            before=_indented(before, 1),
            place=_PLACE.format(row=layer.sizes[1]) if has_windows else "",
            padded=-(-layer.channels // 4) * 4,
            together=2 if has_double else 1,
            sums=_indented(sums, 2),
            fired="            uint32_t fired = 0, bit = 1;\n" if stores else "",
            neurons=_indented(self._neurons(k, layer, has_bias=has_double), 4),
            store=store,
            force=_FORCE.format(**numbers) if stores else "",
            **numbers,
        )

    def _neurons(self, k: int, layer: Layer, *, has_bias: bool) -> list[str]:
        """The statements for a neuron; `has_bias` if the sums have the bias already."""
        charge = "sums[c]"
        if layer.bias.any() and not has_bias:
            kind = "int16_t" if np.abs(layer.bias).max() <= MAX_SHORT else "int32_t"
            charge = f"(sums[c] + {self.table(kind, f'bias{k}', layer.bias)}[c])"
        units = np.exp2(layer.exponents.astype(np.float64))
        unit = c_float(units[0])
        if (units != units[0]).any():
            unit = f"{self.table('float', f'unit{k}', units)}[c]"
        result = f"(float){charge} * {unit}"

        if layer.neuron is not None:
            arguments = [result]
            for i, initial in enumerate(layer.neuron.step.initial):
                state = f"state{k}_{i}"
                self.fields.append(("float", state, layer.size))
                arguments.append(f"&net->{state}[n]")
                if initial:
                    values = {"size": layer.size, "state": state, "initial": c_float(initial)}
                    self.init.append(_INIT.format(**values))

            self.tables.append(step_function(layer.neuron, f"neuron{k}"))
            for i, constant in enumerate(layer.constants):
                arguments.append(self.constant(f"constant{k}_{i}", constant, layer.channels))
            result = f"neuron{k}({', '.join(arguments)})"

        statements = [f"const float result = {result};\n"]
        if k == len(self.net.operations):
            feature = "n"
            position = np.argsort(layer.order.flatten())
            if not np.array_equal(position, np.arange(layer.size)):
                feature = f"{self.table('uint16_t', f'order{k}', position)}[n]"
            statements.append(f"outputs[{feature}] = result;\n")
        if layer.target in self.stored:
            statements.append("if (result > 0.0f) fired |= bit;\nbit <<= 1;\n")
        return statements

    def _with_common_unit(self, layer: Layer) -> Layer:
        """A layer of 16-bit weights with one unit for all channels, where the numbers fit."""
        (edge, *others) = layer.edges
        if others or not is_double(edge, self.net):
            return layer

        smallest = layer.exponents.min()
        factors = np.exp2(layer.exponents - smallest).astype(np.int64)
        weights = (edge.weights.reshape(len(factors), -1).T * factors).T
        bias = layer.bias * factors
        sums = np.abs(weights).sum(axis=1) * MAX_FRAME + np.abs(bias)
        if np.abs(weights).max(initial=0) > MAX_SHORT or sums.max() >= 2**31:
            return layer

        edge = replace(edge, weights=weights.reshape(edge.weights.shape))
        exponents = np.full_like(layer.exponents, smallest)
        return replace(layer, edges=(edge,), bias=bias, exponents=exponents)


def _indented(texts: list[str], levels: int) -> str:
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
{functions}
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

_ADVANCE = """\
net->at{source} = (uint16_t)(net->at{source} + 1 < {depth} ? net->at{source} + 1 : 0);
"""

_STORE = """\
for (int i = 0; i < {size}; i++) net->frame0[{at} * {size} + i] = frame[{index}];
"""

_INIT = """\
for (int n = 0; n < {size}; n++) net->{state}[n] = {initial};
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

_STORE_BITS = """\
            bits[place * {words} + word] = fired;
"""

_FORCE = """\
    if (net->probe) nw_force(bits, {places}, {words}, {channels}, &net->probe);
"""

# Some sums are computed for two places together, an even and an odd one.
_LAYER = """\
/* {title} */
static void layer{k}({name}_state *net{output})
{{
{bits}{declarations}    int32_t both[{padded} * {together}];
{before}    for (int place = 0; place < {places}; place++) {{
{place}        int32_t *sums = both + place % {together} * {padded};
{sums}        for (int word = 0; word < {words}; word++) {{
            const int end = word + 1 < {words} ? 32 * word + 32 : {channels};
{fired}            for (int c = 32 * word; c < end; c++) {{
                const int n = place * {channels} + c;
{neurons}            }}
{store}        }}
    }}
{force}}}
"""
