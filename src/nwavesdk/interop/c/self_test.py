"""The self-test of an exported net: hashes of all membranes, spikes and outputs of each step.

It runs recordings, and probes: random frames, with random spikes in place of the spikes of each
layer, so that each weight acts, also from neurons that hardly fire.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.interop.c.net_text import NetText
from nwavesdk.interop.c.operations import IntegerNet
from nwavesdk.interop.c.tables import c_list
from nwavesdk.layers import NeuronLayer
from nwavesdk.net.calls import replaced
from nwavesdk.net.container import Container
from nwavesdk.net.preparation import prepared

__all__ = ["PROBES", "self_test"]

PROBES = (1, 77, 4242)
"""The seeds of the probes."""

PROBE_STEPS = 40  # of a probe, after the steps of the longest delay
HASH_FACTOR = 2654435761


def self_test(net: Container, text: NetText, recordings: Sequence[Tensor]) -> str:
    """The text of `selftest.c`.

    Args:
        net: The net, in `eval()`.
        text: Its text in C.
        recordings: Inputs of the net [T, *features], on the grid of the frames.
    """
    steps = PROBE_STEPS + _reach(text.net)
    shape = steps, *recordings[0].shape[1:]
    expected = [_hash(_run(net, text, x, None)) for x in recordings]
    for seed in PROBES:
        draw = _Draw(seed)
        frames = [[draw.value(t) for _ in range(text.net.values[0].size)] for t in range(steps)]
        x = torch.tensor(frames).reshape(shape) * text.net.step
        expected.append(_hash(_run(net, text, x, _Draw(seed))))

    name = text.name
    return _SELF_TEST.format(
        name=name,
        upper=name.upper(),
        frames=c_list((torch.cat([*recordings]) / text.net.step).flatten().int().tolist()),
        lengths=", ".join(str(len(x)) for x in recordings),
        seeds=", ".join(map(str, PROBES)),
        n_recordings=len(recordings),
        n_probes=len(PROBES),
        steps=steps,
        expected=c_list([f"{value}u" for value in expected]),
        hashes="\n".join(
            f"    h += hash({words}, {n}, sizeof *({words}), &k);" for words, n in _words(text)
        ),
    )


def _reach(integer: IntegerNet) -> int:
    """The steps after which no input of the first step acts directly on any layer."""
    edges = [edge for layer in integer.layers.values() for edge in layer.edges]
    return sum(edge.past_steps + edge.waiting_steps for edge in edges)


class _Draw:
    """The random numbers of the self-test in C: xorshift of 32 bits."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def word(self) -> int:
        state = self.state
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        self.state = state
        return state

    def value(self, step: int) -> int:
        """A value of a frame: up to 127 in even steps, up to 7 in others."""
        half = 7 if step % 2 else 127
        return self.word() % (2 * half + 1) - half

    def spikes(self, places: int, channels: int) -> np.ndarray:
        """Random spikes [places, channels], about a quarter of all, as `nw_force` draws them."""
        words = -(-channels // 32)
        drawn = [self.word() & self.word() for _ in range(places * words)]
        bits = np.unpackbits(np.array(drawn, "<u4").view(np.uint8), bitorder="little")
        return bits.reshape(places, -1)[:, :channels]


def _words(text: NetText) -> list[tuple[str, int]]:
    """The words of the state that are hashed after a step, as C, in the order of `_run`."""
    words = []
    for k, layer in text.net.layers.items():
        if layer.neuron is not None:
            words.append((f"net->state{k}_0", layer.size))
            if text.net.depth(k):
                words.append((text.spikes(k), layer.places * layer.words))
    return [*words, ("outputs", text.net.output.size)]


@torch.no_grad()
def _run(net: Container, text: NetText, x: Tensor, draw: _Draw | None) -> np.ndarray:
    """The hashed words [T, words] of a run; `draw` has the spikes of a probe."""
    layers = {v.name: (k, v) for k, v in text.net.layers.items() if v.neuron is not None}
    columns: list[np.ndarray] = []

    def call(name: str, module: NeuronLayer, method: Callable[..., Any], charge: Tensor) -> Any:
        k, layer = layers[name]
        position = np.argsort(layer.order.flatten())
        spk, mem = type(module).forward(module, charge)
        columns.append(mem.numpy().reshape(-1)[position].view(np.uint32))
        if text.net.depth(k):
            fired = spk.numpy().reshape(-1)[position].reshape(layer.places, -1).astype(np.uint8)
            if draw is not None:
                fired = draw.spikes(*fired.shape)
                spk = torch.from_numpy(fired.reshape(-1)[layer.order]).to(spk).reshape(spk.shape)
                _set_last_spikes(module, spk)
            columns.append(_packed(fired))
        return (spk, mem) if method is type(module).forward else spk

    modules: list[tuple[str, Any]] = [(name, net.get_submodule(name)) for name in layers]
    changes = [
        (module, key, partial(call, name, module, getattr(type(module), key)))
        for name, module in modules
        for key in ("forward", "spikes")
    ]
    rows = []
    with prepared(net), replaced(changes):
        for frame in x:
            columns.clear()
            output, _ = net.step(frame[None])
            rows.append(np.concatenate([*columns, output.numpy().reshape(-1).view(np.uint32)]))
    return np.stack(rows)


def _set_last_spikes(module: NeuronLayer, spk: Tensor) -> None:
    """Let a recurrent layer take spikes as its own of the last step."""
    *states, recent = module.state_tensors()
    if len(states) == len(module.neuron.states):
        recent = recent.clone()
        recent[:, : spk.numel()] = spk.reshape(1, -1)
        module.load_state_tensors([*states, recent])


def _packed(fired: np.ndarray) -> np.ndarray:
    """Spikes [places, channels] as words."""
    padded = np.pad(fired, ((0, 0), (0, -fired.shape[1] % 32)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4").reshape(-1)


def _hash(words: np.ndarray) -> int:
    factors = (np.arange(words.shape[1], dtype=np.uint64) * HASH_FACTOR | 1).astype(np.uint32)
    of_steps = (words * factors).sum(axis=1, dtype=np.uint32)
    total = 0
    for of_step in of_steps.tolist():
        total = (total * 31 + of_step) % 2**32
    return total


_SELF_TEST = """\
/* The self-test of a net that nwavesdk wrote: it hashes all membranes, spikes and outputs.
 *
 *     cc -std=c99 -O2 -I . {name}.c selftest.c -lm && ./a.out
 */
#include <stdio.h>
#include "nwave_rt.h"
#include "{name}.h"

#define RECORDINGS {n_recordings}
#define PROBES {n_probes}
#define PROBE_STEPS {steps}

static const int lengths[RECORDINGS] = {{{lengths}}};
static const uint32_t seeds[PROBES] = {{{seeds}}};
static const uint32_t expected[RECORDINGS + PROBES] = {expected};
static const int8_t frames[] = {frames};

static uint32_t hash(const void *words, int n, size_t size, uint32_t *k)
{{
    const uint8_t *bytes = words;
    uint32_t h = 0;
    for (int i = 0; i < n; i++, ++*k, bytes += size) {{
        uint32_t word = 0;
        memcpy(&word, bytes, size);
        h += word * ((*k * 2654435761u) | 1u);
    }}
    return h;
}}

static uint32_t hash_step(const {name}_state *net, const float *outputs)
{{
    uint32_t h = 0, k = 0;
    (void)net;  /* a net without neurons has outputs only */
{hashes}
    return h;
}}

static uint32_t draw(uint32_t *state)
{{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}}

static {name}_state net;

int main(void)
{{
    int wrong = 0;
    const int8_t *next = frames;
    for (int r = 0; r < RECORDINGS + PROBES; r++) {{
        const int is_probe = r >= RECORDINGS;
        const int steps = is_probe ? PROBE_STEPS : lengths[r];
        uint32_t total = 0, seed = is_probe ? seeds[r - RECORDINGS] : 0;
        {name}_init(&net);
        net.probe = seed;
        for (int t = 0; t < steps; t++) {{
            int8_t frame[{upper}_INPUTS];
            float outputs[{upper}_OUTPUTS];
            if (is_probe) {{
                const int half = t % 2 ? 7 : 127;
                for (int i = 0; i < {upper}_INPUTS; i++)
                    frame[i] = (int8_t)((int)(draw(&seed) % (uint32_t)(2 * half + 1)) - half);
            }} else {{
                memcpy(frame, next, sizeof frame);
                next += {upper}_INPUTS;
            }}
            {name}_step(&net, frame, outputs);
            total = total * 31u + hash_step(&net, outputs);
        }}
        if (total != expected[r]) {{
            wrong++;
            printf("%s %d: wrong\\n", is_probe ? "probe" : "recording", r);
        }}
    }}
    if (wrong) printf("FAILED: %d of %d runs differ from net(x)\\n", wrong, RECORDINGS + PROBES);
    else printf("PASSED: all membranes, spikes and outputs equal net(x)\\n");
    return wrong != 0;
}}
"""
