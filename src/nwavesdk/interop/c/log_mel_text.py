"""The C code of a log-mel front end: its tables and numbers, for the runtime `log_mel_rt.h`."""

from collections.abc import Iterator
from importlib import resources

from nwavesdk.interop.c.decision_text import step_texts
from nwavesdk.interop.c.log_mel import FixedLogMel
from nwavesdk.interop.c.tables import c_table

__all__ = ["front_end_files"]

RUNTIME = "log_mel_rt.h"

TYPES = {
    "taper": "uint16_t",
    "cosines": "int32_t",
    "first": "uint16_t",
    "counts": "uint16_t",
    "weights": "uint16_t",
    "shifts": "uint8_t",
    "logarithms": "uint16_t",
    "means": "int32_t",
    "factors": "int32_t",
}
"""The type of each table in C."""

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
    uint64_t levels[{bands}];
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
 * outputs of each step, or detections.
 * For other formats: sox FILE -t raw -r {rate} -b 16 -c 1 -e signed - */
#include <stdio.h>
#include "{name}.h"
#include "{name}_front_end.h"
{include}
static struct {name}_front_end front_end;
static {name}_state net;
{state}
int main(void)
{{
    int16_t sample;
    int8_t frame[{upper}_BANDS];
    float outputs[{upper}_OUTPUTS];
    {name}_front_end_init(&front_end);
    {name}_init(&net);
{start}    while (fread(&sample, sizeof sample, 1, stdin)) {{
        int steps = {hold} * {name}_front_end_push(&front_end, sample, frame);
        for (; steps > 0; steps--) {{
            {name}_step(&net, frame, outputs);
{after}        }}
    }}
    return 0;
}}
"""


def front_end_files(
    front_end: FixedLogMel, name: str, hold: int = 1, *, detects: bool = False
) -> dict[str, str]:
    """The files of a front end in C99.

    They have the functions `NAME_front_end_init` and `NAME_front_end_push`. The program `listen.c`
    needs the net of `export_c`, too.

    Args:
        front_end: The front end.
        name: Prefix of the functions and of the files.
        hold: Steps of the net for each frame.
        detects: Whether `listen.c` prints detections, with `NAME_decision.h`, or outputs.

    Returns:
        The text of each file, by its name: a header, the tables, the runtime and `listen.c`.
    """
    numbers = front_end.numbers
    values = {
        "name": name,
        "upper": name.upper(),
        "rate": front_end.log_mel.sample_rate,
        "bands": numbers["BANDS"],
        "width": numbers["WIDTH"],
        "slots": numbers["SIZE"] + 1,
        "hold": hold,
        **step_texts(name, detects=detects),
    }

    macros = {
        "STRUCT": f"{name}_front_end",
        "INIT": f"{name}_front_end_init",
        "PUSH": f"{name}_front_end_push",
        **numbers,
        "MAX_RADIX": max(front_end.radices),
        "TRANSFORM(a, b)": " ".join(_stage_calls(front_end)),
        "RESULT": f"state->buffers[{len(front_end.radices) % 2}]",
        "IS_RUNNING": int("DECAY" in numbers),
    }
    lines = [
        f'/* The tables of the front end. */\n#include "{name}_front_end.h"\n',
        *(f"#define LM_{key} {value}" for key, value in macros.items()),
        "",
        *(
            c_table(kind, f"lm_{key}", front_end.tables[key].tolist())
            for key, kind in TYPES.items()
        ),
        f'#include "{RUNTIME}"\n',
    ]

    runtime = resources.files(__package__).joinpath(RUNTIME).read_text(encoding="utf-8")
    return {
        f"{name}_front_end.h": HEADER.format(**values),
        f"{name}_front_end.c": "\n".join(lines),
        RUNTIME: runtime,
        "listen.c": LISTEN.format(**values),
    }


def _stage_calls(front_end: FixedLogMel) -> Iterator[str]:
    """The calls of all stages, which read and write the buffers a and b in turn."""
    points = front_end.numbers["SIZE"]
    stride = 1
    buffers = "a, b"
    for radix in front_end.radices:
        points //= radix
        yield f"lm_stage({buffers}, {radix}, {points}, {stride});"
        stride *= radix
        buffers = "b, a" if buffers == "a, b" else "a, b"
