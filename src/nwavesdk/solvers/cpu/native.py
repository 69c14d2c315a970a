"""Compiled kernels of a neuron on the CPU, and their calls without Python.

A kernel is a loop over time, which all neurons of a dtype share, and the steps of one neuron, whose
address the loop gets. `render` and `render_loops` write their source texts, `kernel_cache` runs
them, and each function is compiled at its first use. A `KernelCall` runs a kernel on all threads,
with a block of words.
"""

from array import array
from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from nwavesdk.dynamics import QueryText, StepText
from nwavesdk.solvers.cpu.loops import CONTROL_WORDS, fixed_words
from nwavesdk.solvers.cpu.render import render_backward, render_forward
from nwavesdk.solvers.cpu.render_loops import render_loops
from nwavesdk.solvers.cpu.threads import native_function, run_native, thread_count
from nwavesdk.solvers.kernel_cache import COMPILE_LOCK, compile_native, load_source
from nwavesdk.surrogate import Surrogate

__all__ = [
    "KernelCall",
    "NativeFunction",
    "native_backward_steps",
    "native_forward_steps",
    "native_loop",
]

# The C types of `forward_steps` and `backward_steps` (see `render`): five rows; lengths, and in
# backward two flags; the workspace, and in backward the parameters of the surrogate.
_FORWARD = f"int64({', '.join(['{0}'] * 5 + ['uint64'] * 7)}, {{0}})"
_BACKWARD = f"void({', '.join(['{0}'] * 5 + ['uint64'] * 8)}, {{0}}, CPointer(float64))"
_SPIKES = CONTROL_WORDS.index("spikes")


class NativeFunction:
    """A function of a text that is compiled to machine code at its first use.

    Args:
        function: The function.
        signature: Its types, as numba writes them.
    """

    def __init__(self, function: Any, signature: str) -> None:
        self.function = function
        self.signature = signature
        self.compiled: Any = None

    @property
    def address(self) -> int:
        """Address of the machine code."""
        if self.compiled is None:
            with COMPILE_LOCK:
                self.compiled = self.compiled or compile_native(self.function, self.signature)
        address: int = self.compiled.address
        return address


@cache
def native_forward_steps(step: StepText, dtype: str) -> NativeFunction:
    """The function `forward_steps` of a neuron, see `render_forward`."""
    module = load_source(step.name, render_forward(step, dtype))
    return NativeFunction(module.forward_steps, _FORWARD.format(f"CPointer({dtype})"))


@cache
def native_backward_steps(
    adjoint: QueryText,
    dtype: str,
    surrogate: type[Surrogate] | None = None,
    parameters: int = 0,
    *,
    reuse: bool = False,
) -> NativeFunction:
    """The function `backward_steps` of a neuron; for the arguments see `render_backward`.

    It takes the parameters of the surrogate as arguments, so all surrogates of a class share it.
    """
    text = render_backward(adjoint, dtype, surrogate, parameters, reuse=reuse)
    module = load_source(adjoint.name, text)
    return NativeFunction(module.backward_steps, _BACKWARD.format(f"CPointer({dtype})"))


@cache
def native_loop(loop: Callable[..., Any], dtype: str) -> NativeFunction:
    """A loop over jobs of a dtype, which threads run without Python."""
    return NativeFunction(getattr(_loops(dtype), f"{loop.__name__}_native"), "void(int64)")


@cache
def _loops(dtype: str) -> ModuleType:
    return load_source(f"loops_{dtype}", render_loops(dtype))


class KernelCall:
    """A call of a kernel with given sizes. It may run any number of times, also on many threads.

    Args:
        loop: The loop over time.
        dtype: `"float32"` or `"float64"`.
        steps: The steps of the neuron, from `native_forward_steps` or `native_backward_steps`.
        jobs: Number of jobs.
        sizes: The whole numbers that the loop takes, by name.
        serial: Whether to run on one thread.
    """

    __slots__ = ("_function", "_template", "_threads")

    def __init__(
        self,
        loop: Callable[..., Any],
        dtype: str,
        steps: NativeFunction,
        *,
        jobs: int,
        sizes: Mapping[str, int],
        serial: bool,
    ) -> None:
        self._threads = 1 if serial else thread_count(jobs)
        control = {"next_piece": 0, "jobs": jobs, "pieces": self._threads, "spikes": 0}
        words = [control[name] for name in CONTROL_WORDS]

        self._function = None
        if jobs:
            values = {**sizes, "neuron": steps.address}
            words += [values[name] for name in fixed_words(loop)]
            self._function = native_function(native_loop(loop, dtype).address)
        self._template = array("q", words)

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
        return block[_SPIKES]
