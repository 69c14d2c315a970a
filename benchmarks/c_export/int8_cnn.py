"""Instructions per frame of an int8 CNN on an emulated Cortex-M4, next to an exported spiking net.

    python -m benchmarks.c_export.int8_cnn [FIRMWARE]

The CNN is the one of `benchmarks.cnn` for sound: 45,996 parameters, 98 frames of 40 bands, 12
classes. Its weights are random, because its counts do not depend on them, and its scores are
compared with NumPy. `cnn.h` has the code. It gets a frame at a time, and has the loops of products
of exported spiking nets: with weights of 8 bits, and with weights of 16 bits, which take fewer
instructions and twice the flash. FIRMWARE is a folder of `nwave export --c` to compare with.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from benchmarks.c_export.instructions import Count, count_instructions
from benchmarks.cnn import PictureNet

__all__ = ["Layer", "layers_of", "ram_of", "write_cnn"]

FRAMES, BANDS, CLASSES = 98, 40, 12
CHANNELS, POOLS = PictureNet.CHANNELS, PictureNet.POOLS
LARGEST = 127


@dataclass(frozen=True)
class Layer:
    """A convolution of 3 x 3 with ReLU, and a pool of 2 x 2 after the first layers.

    Attributes:
        width: Places of its input along the bands.
        weights: int64 [outputs, 3, 3, channels].
        scales: Scale of each output in units of 2**-32, int64 [outputs].
        pools: Whether a pool follows.
    """

    width: int
    weights: np.ndarray
    scales: np.ndarray
    pools: bool

    def run(self, x: np.ndarray) -> np.ndarray:
        """The output [rows, places, outputs] for an input [rows, places, channels]."""
        sums = self.sums(x)
        y = np.clip((sums * self.scales + 2**31) >> 32, 0, LARGEST)
        if not self.pools:
            return y
        # The last row or place of an odd number is a window of its own.
        y = np.pad(y, [(0, y.shape[0] % 2), (0, y.shape[1] % 2), (0, 0)])
        return y.reshape(y.shape[0] // 2, 2, y.shape[1] // 2, 2, -1).max(axis=(1, 3))

    def sums(self, x: np.ndarray) -> np.ndarray:
        """The sums of the convolution, int64 [rows, places, outputs]."""
        padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
        return np.einsum("yxcij,oijc->yxo", windows, self.weights)


def layers_of(frames: np.ndarray, rng: np.random.Generator) -> tuple[list[Layer], np.ndarray]:
    """Layers with random weights and useful scales, and the sums of the last one's outputs."""
    layers, x = [], frames[:, :, None].astype(np.int64)
    for depth, outputs in enumerate(CHANNELS):
        weights = rng.integers(-LARGEST, LARGEST + 1, (outputs, 3, 3, x.shape[2]))
        layer = Layer(x.shape[1], weights, np.ones(outputs, np.int64), depth < POOLS)
        spread = layer.sums(x).std(axis=(0, 1))
        layer = Layer(layer.width, weights, np.int64(2**32 * 40 / spread), layer.pools)
        layers.append(layer)
        x = layer.run(x)
    return layers, x.sum(axis=(0, 1))


def write_cnn(folder: Path, places: int) -> None:
    """Write the CNN as C, with a test of its scores.

    Args:
        folder: The folder.
        places: 1 for weights of 8 bits, 2 for weights of 16 bits and two places at a time.
    """
    rng = np.random.default_rng(0)
    frames = rng.integers(-LARGEST, LARGEST + 1, (FRAMES, BANDS))
    layers, features = layers_of(frames, rng)
    dense = rng.integers(-LARGEST, LARGEST + 1, (CLASSES, len(features)))

    runtime = resources.files("nwavesdk.interop.c") / "nwave_rt.h"
    (folder / "nwave_rt.h").write_text(runtime.read_text())
    (folder / "cnn.h").write_text((Path(__file__).parent / "cnn.h").read_text())
    (folder / "net.h").write_text(_header(layers))
    (folder / "net.c").write_text("\n".join(_source(layers, dense, places)))
    (folder / "selftest.c").write_text(
        _TEST
        + _table("int8_t", "frames", frames)
        + _MAIN.format(
            frames=FRAMES,
            classes=CLASSES,
            scores=", ".join(map(str, dense @ features)),
            bands=BANDS,
        )
    )


def ram_of(layers: list[Layer]) -> dict[str, int]:
    """Bytes of activations of int8 for other orders of the same sums, computed.

    `layer by layer` has the input and the output of a layer, before its pool. `fused pools` has the
    output after the pool.
    """
    rows, pairs = FRAMES, []
    for layer in layers:
        outputs, channels = layer.weights.shape[0], layer.weights.shape[3]
        after = rows, layer.width
        if layer.pools:
            after = -(-rows // 2), -(-layer.width // 2)
        size, out = rows * layer.width, after[0] * after[1]
        pairs.append((size * channels, size * outputs, out * outputs))
        rows = after[0]
    return {
        "layer by layer": max(before + whole for before, whole, _ in pairs),
        "fused pools": max(before + pooled for before, _, pooled in pairs),
    }


def _table(kind: str, name: str, values: np.ndarray) -> str:
    return f"static const {kind} {name}[] __attribute__((aligned(8))) = {{{_list(values)}}};\n"


def _list(values: np.ndarray) -> str:
    return ", ".join(map(str, values.ravel()))


def _header(layers: list[Layer]) -> str:
    lines = ["#include <stdint.h>", f"#define NET_INPUTS {BANDS}", "typedef struct {"]
    lines.append("    uint32_t probe;")
    for k, layer in enumerate(layers):
        outputs, channels = layer.weights.shape[0], layer.weights.shape[3]
        row = layer.width // 2 * 2 + 2 + 2 * (layer.width % 2)
        pooled = -(-layer.width // 2) if layer.pools else layer.width
        lines.append(f"    int rows{k};")
        lines.append(f"    int16_t ring{k}[{3 * row * channels}], pooled{k}[{pooled * outputs}];")
    largest = max(layer.width * layer.weights.shape[0] for layer in layers)
    values = max(-(-layer.weights[0].size // 4) * 4 for layer in layers)
    lines += [
        f"    int16_t out[{largest}];",
        f"    int16_t patch[{2 * values}] __attribute__((aligned(8)));",
        f"    int32_t sums[{2 * max(CHANNELS)}], totals[{CHANNELS[-1]}];",
        "} net_state;",
        "void net_init(net_state *net);",
        "void net_step(net_state *net, const int8_t *frame, float *outputs);",
        "",
    ]
    return "\n".join(lines)


def _source(layers: list[Layer], dense: np.ndarray, places: int) -> Iterator[str]:
    kind = "int16_t" if places == 2 else "int8_t"
    yield f'#include "net.h"\n#define CNN_PLACES {places}\ntypedef {kind} cnn_weight;'
    yield '#include "cnn.h"'
    for k, layer in enumerate(layers):
        outputs, channels = layer.weights.shape[0], layer.weights.shape[3]
        yield f"#define SHAPE{k} {{{layer.width}, {channels}, {outputs}, {int(layer.pools)}}}"
        yield _table(kind, f"weights{k}", _packed(layer.weights, places))
        yield _table("int32_t", f"scales{k}", layer.scales)
    yield _table("int8_t", "dense", dense)

    yield _SUM.format(width=layers[-1].width, outputs=CHANNELS[-1])
    names = [f"layer{k}" for k in range(len(layers))] + ["add"]
    for k in reversed(range(len(layers))):
        yield f"CNN_LAYER({k}, {names[k + 1]})"
    yield _STEP.format(frames=FRAMES, bands=BANDS, classes=CLASSES, outputs=CHANNELS[-1])


def _packed(weights: np.ndarray, places: int) -> np.ndarray:
    """The weights of a layer in the order of its loop: see `nw_values`, `nw_values_of_two`."""
    flat = weights.reshape(len(weights), -1)
    flat = np.pad(flat, [(0, 0), (0, -flat.shape[1] % 4)])
    together = 2 if places == 2 else 4
    fours = flat.reshape(len(flat) // together, together, -1, 4).swapaxes(1, 2)
    return fours if places == 2 else fours[..., [0, 2, 1, 3]]


_SUM = """\
static void add(net_state *net, const int16_t *row)
{{
    for (int i = 0; row && i < {width} * {outputs}; i++) net->totals[i % {outputs}] += row[i];
}}
"""

_STEP = """\
void net_init(net_state *net) {{ memset(net, 0, sizeof *net); }}

void net_step(net_state *net, const int8_t *frame, float *outputs)
{{
    int16_t row[{bands}];
    for (int i = 0; i < {bands}; i++) row[i] = frame[i];
    layer0(net, row);
    if (net->rows0 < {frames}) return;
    layer0(net, 0);
    for (int k = 0; k < {classes}; k++) {{
        int32_t sum = 0;
        for (int c = 0; c < {outputs}; c++) sum += dense[k * {outputs} + c] * net->totals[c];
        outputs[k] = (float)sum;
    }}
}}
"""

_TEST = '#include <stdio.h>\n#include "net.h"\nstatic net_state net;\n'

_MAIN = """\
static const int32_t scores[] = {{{scores}}};
int main(void)
{{
    float outputs[{classes}];
    int wrong = 0;
    net_init(&net);
    for (int t = 0; t < {frames}; t++) net_step(&net, frames + t * {bands}, outputs);
    for (int k = 0; k < {classes}; k++) wrong += outputs[k] != (float)scores[k];
    printf("%s: %d scores differ, %u bytes of RAM\\n", wrong ? "FAILED" : "PASSED", wrong,
           (unsigned)sizeof net);
    return wrong != 0;
}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("firmware", type=Path, nargs="?", help="a folder of nwave export --c")
    arguments = parser.parse_args()

    def show(name: str, options: list[str], count: Count) -> None:
        print(
            f"{name:20} {' '.join(options):18} {count.per_frame:10,.0f} instructions per frame, at "
            f"most {count.most:,}; {count.flash:,} bytes of flash; {count.verdict}",
            flush=True,
        )

    for options in (["-O2"], ["-O3"], ["-O2", "-DNW_PORTABLE"], ["-O3", "-DNW_PORTABLE"]):
        spiking = None
        if arguments.firmware is not None:
            spiking = count_instructions(arguments.firmware, options)
            show("spiking net", options, spiking)
        for places, name in ((1, "CNN, 8-bit weights"), (2, "CNN, 16-bit weights")):
            with tempfile.TemporaryDirectory() as folder:
                write_cnn(Path(folder), places)
                count = count_instructions(Path(folder), options)
            show(name, options, count)
            if spiking is not None:
                print(f"{'':20} spiking net / CNN: {spiking.per_frame / count.per_frame:.2f}")

    layers, _ = layers_of(np.zeros((FRAMES, BANDS)) + 1, np.random.default_rng(0))
    for name, size in ram_of(layers).items():
        print(f"{name}: {size:,} bytes of RAM for activations of int8, computed")


if __name__ == "__main__":
    main()
