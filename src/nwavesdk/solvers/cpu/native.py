"""Compiled kernels of a neuron on the CPU, and their calls without Python.

`render` writes the source text of the kernels, `kernel_cache` runs it, and `NativeKernel` compiles
a loop over time at its first use. A `KernelCall` runs it on all threads, with a block of words.
"""

from array import array
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any

from nwavesdk.dynamics import QueryText, StepText
from nwavesdk.solvers.cpu.loops import LOOPS, fixed_words
from nwavesdk.solvers.cpu.render import render_backward, render_forward
from nwavesdk.solvers.cpu.threads import native_function, run_native, thread_count
from nwavesdk.solvers.kernel_cache import COMPILE_LOCK, compile_native, load_source
from nwavesdk.surrogate import Surrogate

__all__ = ["KernelCall", "NativeKernel", "backward_kernels", "forward_kernels"]


@cache
def forward_kernels(step: StepText, dtype: str) -> SimpleNamespace:
    """The compiled forward kernels of a neuron, by their names in `loops`."""
    return _load_kernels(step.name, render_forward(step, dtype))


@cache
def backward_kernels(
    adjoint: QueryText,
    dtype: str,
    surrogate: type[Surrogate] | None = None,
    parameters: int = 0,
    *,
    reuse: bool = False,
) -> SimpleNamespace:
    """The compiled backward kernels of a neuron; for the arguments see `render_backward`.

    The parameters of a surrogate are arguments of the kernels, so surrogates that differ in them
    alone share one kernel.
    """
    text = render_backward(adjoint, dtype, surrogate, parameters, reuse=reuse)
    return _load_kernels(adjoint.name, text)


def _load_kernels(name: str, text: str) -> SimpleNamespace:
    module = vars(load_source(name, text))
    loops = [loop for loops in LOOPS.values() for loop in loops]
    natives = {loop: module.get(f"{loop.__name__}_native") for loop in loops}
    return SimpleNamespace(
        **{loop.__name__: NativeKernel(f, loop) for loop, f in natives.items() if f is not None}
    )


class NativeKernel:
    """A compiled loop over jobs that threads run without Python.

    Args:
        function: The function that reads the arguments of the loop (`_native_entry` in `render`).
        loop: The loop, whose signature names the arguments.
    """

    def __init__(self, function: Any, loop: Callable[..., Any]) -> None:
        self.function = function
        self.fixed = fixed_words(loop)
        self.compiled: Any = None

    @property
    def address(self) -> int:
        """Address of the machine code, which is compiled at the first use."""
        if self.compiled is None:
            with COMPILE_LOCK:
                self.compiled = self.compiled or compile_native(self.function, "void(int64)")
        address: int = self.compiled.address
        return address


class KernelCall:
    """A call of a kernel with given sizes. It may run any number of times, also on many threads.

    Args:
        kernel: The kernel.
        jobs: Number of jobs.
        sizes: The whole numbers that the kernel takes, by name.
        serial: Whether to run on one thread.
    """

    __slots__ = ("_function", "_template", "_threads")

    def __init__(
        self,
        kernel: NativeKernel,
        jobs: int,
        sizes: Mapping[str, int],
        *,
        serial: bool,
    ) -> None:
        self._threads = 1 if serial else thread_count(jobs)
        words = [0, jobs, self._threads, 0]  # the control words, see `loops`
        words += [sizes[name] for name in kernel.fixed]
        self._template = array("q", words)
        self._function = native_function(kernel.address) if jobs else None

    def run(self, words: list[int]) -> int:
        """Run all jobs.

        Args:
            words: Addresses and strides, in the order of `call_words`.

        Returns:
            The number of spikes of a forward loop.
        """
        if self._function is None:
            return 0
        block = self._template[:]  # of this run alone, as the kernel writes to it
        block.fromlist(words)
        if self._threads == 1:
            self._function(block.buffer_info()[0])
        else:
            run_native(self._function, block.buffer_info()[0], self._threads)
        return block[3]
