"""The files next to an exported net: `example.c`, `CMakeLists.txt` and `README.md`."""

from collections.abc import Sequence

from nwavesdk.interop.c.decision_text import step_texts
from nwavesdk.interop.c.net_text import NetText
from nwavesdk.interop.c.tables import c_string

__all__ = ["folder_texts"]


def folder_texts(
    text: NetText,
    *,
    table: str,
    classes: Sequence[str],
    hold: int,
    notes: Sequence[str],
    detects: bool = False,
    is_scaled: bool = False,
) -> dict[str, str]:
    """The texts by file name.

    Args:
        text: The net in C.
        table: The costs of the net.
        classes: Names of the outputs if the largest sum is the result; else empty.
        hold: Steps for which a frame is held.
        notes: Further lines of the README.
        detects: Whether the example prints detections in place of outputs.
        is_scaled: Whether the net scales rows of values.
    """
    values = {
        "name": text.name,
        "upper": text.name.upper(),
        "hold": hold,
        "table": table,
        "inputs": text.net.values[0].size,
        "outputs": text.net.output.size,
        "notes": "".join(f"- {note}\n" for note in notes),
        "unit": f"{text.net.step:g}",
        "scaling": _SCALED if is_scaled else _ROUNDED,
        "printed": "detections",
        "sums": "",
        "add": "",
        "result": "",
        "class": "",
        **step_texts(text.name, detects=detects),
    }
    if not detects:
        printed = "the outputs of each step, at the end their sums, and the class of a classifier"
        values |= {"printed": printed, "sums": _SUMS.format(**values), "add": _ADD.format(**values)}
        values["result"] = _PRINT_SUMS.format(**values)
    if classes:
        values["class"] = _CLASS.format(
            names=", ".join(map(c_string, classes)),
            n_classes=len(classes),
            population=text.net.output.size // len(classes),
        )

    files = {"example.c": _EXAMPLE, "CMakeLists.txt": _CMAKE, "README.md": _README}
    return {name: template.format(**values) for name, template in files.items()}


_EXAMPLE = """\
/* Reads rows of {inputs} values from standard input, and prints
 * {printed}. */
#include <stdio.h>
#include "{name}.h"
{include}
static {name}_state net;
{state}
int main(void)
{{
{sums}    {name}_init(&net);
{start}    for (;;) {{
        float row[{upper}_INPUTS], outputs[{upper}_OUTPUTS];
        int8_t frame[{upper}_INPUTS];
        for (int i = 0; i < {upper}_INPUTS; i++)
            if (scanf("%f", row + i) != 1) goto end;
        {name}_scale(row, frame);
        for (int step = 0; step < {hold}; step++) {{
            {name}_step(&net, frame, outputs);
{add}{after}        }}
    }}
end:
{result}{class}    return 0;
}}
"""

_SUMS = """\
    float sums[{upper}_OUTPUTS] = {{0}};
"""

_ADD = """\
            for (int i = 0; i < {upper}_OUTPUTS; i++) sums[i] += outputs[i];
"""

_PRINT_SUMS = """\
    printf("sums:");
    for (int i = 0; i < {upper}_OUTPUTS; i++) printf(" %.9g", (double)sums[i]);
    printf("\\n");
"""

# Each class has as many outputs as the others, next to each other.
_CLASS = """\
    static const char *const classes[] = {{{names}}};
    float largest = 0.0f;
    int best = 0;
    for (int k = 0; k < {n_classes}; k++) {{
        float score = 0.0f;
        for (int i = 0; i < {population}; i++) score += sums[k * {population} + i];
        if (k == 0 || score > largest) {{
            largest = score;
            best = k;
        }}
    }}
    printf("class: %s\\n", classes[best]);
"""

_CMAKE = """\
cmake_minimum_required(VERSION 3.10)
project({name} C)
set(CMAKE_C_STANDARD 99)
set(CMAKE_C_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
add_library({name} {name}.c)
target_include_directories({name} PUBLIC .)
find_library(MATH m)
if(MATH)
  target_link_libraries({name} PUBLIC ${{MATH}})
endif()
add_executable(selftest selftest.c)
target_link_libraries(selftest {name})
add_executable(example example.c)
target_link_libraries(example {name})
enable_testing()
add_test(NAME selftest COMMAND selftest)
"""

_SCALED = "It has the scale of the run: (value - mean) / deviation, in float32."
_ROUNDED = "Values are already on the scale of the run."

_README = """\
# A spiking net as C

nwavesdk wrote these files from a quantized net. `{name}.h` has the interface, `{name}.c` the net,
and `nwave_rt.h` the runtime: C99 without libraries other than `math.h`, without allocation and
without global variables.

```sh
cc -std=c99 -O2 -I . {name}.c selftest.c -lm -o selftest && ./selftest
cc -std=c99 -O2 -I . {name}.c example.c -lm -o example && ./example < frames.txt
```

The self-test needs no argument. It hashes all membranes, spikes and outputs of three recordings and
of probes, and compares them with `net(x)` of nwavesdk; its last line is the verdict. **Run it on
your device with your compiler and options:** options such as `-ffast-math`, or fused
multiplications and additions, change results.

## Interface
`{name}_init` starts a recording. `{name}_scale` makes a frame of a row of {inputs} values, in the
order of the net's input. {scaling}
It rounds them to units of {unit}, from -127 to 127. `{name}_step` takes the frame and returns
{outputs} outputs.
{notes}
## Costs per step
```
{table}
```
Additions and products are computed from the spike rates of example recordings.
"""
