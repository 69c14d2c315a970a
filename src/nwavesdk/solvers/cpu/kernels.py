"""The compiled CPU kernels of a neuron, and the call of a kernel from all threads without Python.

`render` writes the source text, `kernel_cache` imports it, and `NativeKernel` compiles an entry of
it on its first call.
"""

from array import array
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba

from nwavesdk.dynamics import Neuron
from nwavesdk.solvers.cpu.render import render_kernels
from nwavesdk.solvers.cpu.threads import run_native, thread_count
from nwavesdk.solvers.kernel_cache import COMPILE_LOCK, compile_or_heal, load_source
from nwavesdk.surrogate import Surrogate

__all__ = ["NativeKernel", "cpu_kernels"]


@cache
def cpu_kernels(
    neuron: Neuron,
    dtype: str,
    surrogate: type[Surrogate] | None = None,
    parameters: int = 0,
    **options: Any,
) -> SimpleNamespace:
    """The compiled kernels for `neuron`, by their names in `loops`.

    For the arguments see `render_kernels`. The parameters of a surrogate are arguments of the
    kernels, so surrogates that differ in them alone share one kernel.
    """
    text = render_kernels(neuron, dtype, surrogate, parameters, **options)
    module, path = load_source(neuron.name, numba.__version__, text)
    natives = {name: f for name, f in vars(module).items() if name.endswith("_native")}
    return SimpleNamespace(
        **{name.removesuffix("_native"): NativeKernel(f, path) for name, f in natives.items()}
    )


class NativeKernel:
    """A compiled loop over jobs that threads run without Python.

    The machine code takes one address, that of a block of 64-bit words. The first three words are
    the number of the next piece of work, the number of jobs and the number of pieces. Then follows
    per argument: a word for a whole number, an address and the shape for an array, and the address
    of float64 numbers for a tuple. `render` writes the code that reads the block.
    """

    def __init__(self, function: Any, path: Path) -> None:
        self.function = function
        self.path = path
        self.compiled: Any = None

    def __call__(self, jobs: int, arguments: Sequence[Any], *, serial: bool) -> None:
        """Run all jobs.

        Args:
            jobs: Number of jobs.
            arguments: Contiguous tensors, whole numbers, and at most one tuple of floats.
            serial: Whether to run on this thread alone.
        """
        if self.compiled is None:
            with COMPILE_LOCK:
                self.compiled = self.compiled or compile_or_heal(self._compile, self.path)
        threads = 1 if serial else thread_count(jobs)
        words = [0, jobs, threads]
        numbers = array("d")  # lives until the call returns: the block holds its address
        for a in arguments:
            if isinstance(a, int):
                words.append(a)
            elif isinstance(a, tuple):
                numbers.extend(a)
                words.append(numbers.buffer_info()[0])
            else:
                words.append(a.data_ptr())
                words += a.shape
        block = array("q", words)
        run_native(self.compiled.address, block.buffer_info()[0], threads)

    def _compile(self) -> Any:
        return numba.cfunc("void(int64)", cache=True, error_model="numpy")(self.function)
