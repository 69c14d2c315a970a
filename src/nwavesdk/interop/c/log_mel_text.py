"""The C code of a log-mel front end, equal to `FixedLogMel` to the bit."""

from collections.abc import Iterable
from importlib import resources
from textwrap import fill

import numpy as np

from nwavesdk.interop.c.log_mel import LOG_TABLE, FixedLogMel
from nwavesdk.interop.c.log_mel_transform import TAPER_BITS, PowerTransform

__all__ = ["front_end_files"]

RUNTIME = "log_mel_rt.h"

HEADER = """\
/* The frames of a sound, as input of the net. Each of two sounds needs its own struct. */
#ifndef {upper}_FRONT_END_H
#define {upper}_FRONT_END_H

#include <stdint.h>

#define {upper}_SAMPLE_RATE {rate}
#define {upper}_BANDS {bands}

#ifndef NWAVE_COMPLEX
#define NWAVE_COMPLEX
typedef struct {{ int32_t re, im; }} nwave_complex;
#endif

struct {name}_front_end {{
    int16_t samples[{width}];
    int32_t filled;
    union {{
        nwave_complex values[{slots}];
        uint64_t power[{slots}];
    }} buffers[2];
    uint64_t bands[{bands}];
    uint64_t level;
    uint32_t past;
}};

/* Begin a sound. */
void {name}_front_end_init(struct {name}_front_end *state);

/* Take the next sample; returns 1 if it completes a frame and writes its {bands} values, else 0. */
int {name}_front_end_push(struct {name}_front_end *state, int16_t sample, int8_t *frame);

#endif
"""

LISTEN = """\
/* Reads samples of 16 bits at {rate} Hz from standard input, without a header, and writes the
 * outputs of each step. For other formats: sox FILE -t raw -r {rate} -b 16 -c 1 -e signed - */
#include <stdio.h>
#include "{name}.h"
#include "{name}_front_end.h"

static struct {name}_front_end front_end;
static {name}_state net;

int main(void)
{{
    int16_t sample;
    int8_t frame[{upper}_BANDS];
    float outputs[{upper}_OUTPUTS];
    {name}_front_end_init(&front_end);
    {name}_init(&net);
    while (fread(&sample, sizeof sample, 1, stdin)) {{
        int steps = {hold} * {name}_front_end_push(&front_end, sample, frame);
        for (; steps > 0; steps--) {{
            {name}_step(&net, frame, outputs);
            for (int i = 0; i < {upper}_OUTPUTS; i++) printf("%.9g ", (double)outputs[i]);
            printf("\\n");
        }}
    }}
    return 0;
}}
"""


def front_end_files(front_end: FixedLogMel, name: str, hold: int = 1) -> dict[str, str]:
    """The files of a front end in C99.

    They have the functions `NAME_front_end_init` and `NAME_front_end_push`. The program `listen.c`
    needs the net of `export_c`, too.

    Args:
        front_end: The front end.
        name: Prefix of the functions and of the files.
        hold: Steps of the net for each frame.

    Returns:
        The text of each file, by its name: a header, the tables, the runtime and `listen.c`.
    """
    transform = front_end.transform
    values = {
        "name": name,
        "upper": name.upper(),
        "rate": front_end.log_mel.sample_rate,
        "bands": front_end.log_mel.bands,
        "width": transform.width,
        "slots": transform.size + 1,
        "hold": hold,
    }

    macros = [f"#define LM_{key} {value}" for key, value in macros_of(front_end, name).items()]
    lines = [
        f'/* The tables of the front end. */\n#include "{name}_front_end.h"\n',
        *macros,
        "",
        *tables_of(front_end),
        "",
        f'#include "{RUNTIME}"',
    ]

    runtime = resources.files(__package__).joinpath(RUNTIME).read_text(encoding="utf-8")
    return {
        f"{name}_front_end.h": HEADER.format(**values),
        f"{name}_front_end.c": "\n".join(lines) + "\n",
        RUNTIME: runtime,
        "listen.c": LISTEN.format(**values),
    }


def macros_of(front_end: FixedLogMel, name: str) -> dict[str, object]:
    """The macros that the runtime needs, without their prefix."""
    transform, level = front_end.transform, front_end.level
    macros: dict[str, object] = {
        "STRUCT": f"{name}_front_end",
        "INIT": f"{name}_front_end_init",
        "PUSH": f"{name}_front_end_push",
        "WIDTH": transform.width,
        "HOP": front_end.log_mel.step,
        "SIZE": transform.size,
        "BANDS": front_end.log_mel.bands,
        "TURN": transform.turn,
        "SHIFT": TAPER_BITS - transform.fraction_bits,
        "MAX_RADIX": max(transform.radices),
        "TRANSFORM(a, b)": " ".join(stage_calls(transform)),
        "RESULT": f"state->buffers[{len(transform.radices) % 2}]",
        "IS_RUNNING": int(level is not None),
        "SILENCE": f"{front_end.silence}u",
    }

    # The silence of a running level is a fraction of the level.
    if level is not None:
        macros |= {
            "SILENCE": f"{level.silence}u",
            "LEVEL_SHIFT": level.shift,
            "DECAY": f"{level.decay}u",
            "FIRST_LEVEL": f"{level.first}u",
            "MIN_LEVEL": f"{level.least}u",
            "FIRST_PAST": f"{level.first_past}u",
        }
    return macros


def stage_calls(transform: PowerTransform) -> Iterable[str]:
    """The calls of all stages, which read and write the buffers a and b in turn."""
    stride = 1
    buffers = ["a", "b"]
    for radix in transform.radices:
        points = transform.size // (stride * radix)
        name = "2({}, {}" if radix == 2 else f"odd({{}}, {{}}, {radix}"
        yield f"lm_stage_{name}, {points}, {stride});".format(*buffers)
        buffers.reverse()
        stride *= radix


def tables_of(front_end: FixedLogMel) -> Iterable[str]:
    """The tables that the runtime needs."""
    transform, bands = front_end.transform, front_end.bands
    ranges = zip(bands.first, bands.counts, bands.weights.T, strict=True)
    weights = [weights[first : first + count] for first, count, weights in ranges]
    yield table("uint16_t", "taper", transform.taper[: transform.width // 2 + 1])
    yield table("int32_t", "cosines", transform.cosines)
    yield table("uint16_t", "first", bands.first)
    yield table("uint16_t", "counts", bands.counts)
    yield table("uint16_t", "weights", np.concatenate(weights))
    yield table("uint8_t", "shifts", bands.shifts)
    yield table("uint16_t", "logarithms", LOG_TABLE)
    yield table("int32_t", "means", front_end.means)
    yield table("int32_t", "factors", front_end.factors)


def table(kind: str, name: str, values: Iterable[int]) -> str:
    """A constant array."""
    numbers = fill(", ".join(map(str, values)), 96, initial_indent="    ", subsequent_indent="    ")
    return f"static const {kind} lm_{name}[] = {{\n{numbers}\n}};"
