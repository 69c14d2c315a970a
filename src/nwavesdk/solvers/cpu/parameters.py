"""Parameters of a planned call, without torch: whether they have changed, and the chain rule."""

from array import array
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.threads import native_function
from nwavesdk.solvers.kernel_cache import COMPILE_LOCK, compile_native, package_kernels

__all__ = ["ParameterChain", "ParameterValues"]

_DTYPE_NAMES = {torch.float32: "float32", torch.float64: "float64"}


@cache
def _native(name: str) -> Callable[[int], int]:
    """A kernel over parameters by its name."""
    module = package_kernels("nwavesdk.solvers.cpu", "parameter_kernels", torch.float64)
    with COMPILE_LOCK:
        kernel = compile_native(getattr(module, name), "int64(int64)")
    return native_function(kernel.address, has_result=True)


class ParameterValues:
    """The values of parameters at one time, to be compared with those at a later time.

    Values are compared bit by bit, because neither writes to `.data` nor fused optimizers change a
    version counter.

    Args:
        tensors: The parameters: contiguous CPU tensors of 32 or 64 bits.
    """

    __slots__ = ("_address", "_block", "_copies", "_kernel", "_seen")

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        with torch.inference_mode(False):
            self._copies = [tensor.detach().clone() for tensor in tensors]
        # A tensor that a graph has computed would keep the graph, so only leaves are kept.
        self._seen = [
            (t if t.grad_fn is None else None, t.data_ptr(), t.nbytes, t.shape, t.requires_grad)
            for t in tensors
        ]

        self._kernel = _native("are_equal")
        words = [len(self._copies)]
        for tensor, copy in zip(tensors, self._copies, strict=True):
            words += (tensor.data_ptr(), copy.data_ptr(), copy.nbytes // 4)

        self._block = array("q", words)
        self._address = self._block.buffer_info()[0]

    def are_unchanged(self, tensors: Sequence[Tensor]) -> bool:
        """Whether values, shapes, types and `requires_grad` are still the same.

        Args:
            tensors: The parameters now, in the same order.
        """
        for tensor, (before, address, size, shape, learns) in zip(tensors, self._seen, strict=True):
            if (
                tensor is not before
                or tensor.data_ptr() != address
                or tensor.nbytes != size
                or tensor.shape != shape
                or not tensor.is_contiguous()
                or tensor.requires_grad is not learns
            ):
                return self._equal_elsewhere(tensors)
        return self._kernel(self._address) == 1

    def _equal_elsewhere(self, tensors: Sequence[Tensor]) -> bool:
        """As `are_unchanged`, for parameters that are new tensors, or have moved in memory."""
        return all(
            tensor.dtype == copy.dtype
            and tensor.requires_grad is learns
            and tensor.is_cpu
            and torch.equal(tensor, copy)
            for tensor, copy, (*_, learns) in zip(tensors, self._copies, self._seen, strict=True)
        )


class ParameterChain:
    """The chain rule from constants to the parameters that they are computed from.

    Args:
        derivatives: Derivatives of the C constants with respect to the P parameters, for each
            neuron, [C, P, N] float64.
        parameters: The parameters, with their values in the order of the neurons.
        shared_counts: For each parameter, the number of consecutive neurons that share a value.
            Values follow in their order; after the last value, the first one is used again.
        dtype: Data type of the constants.
    """

    def __init__(
        self,
        derivatives: Tensor,
        parameters: Sequence[Tensor],
        shared_counts: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        self._derivatives = derivatives.contiguous()
        self._kernel = _native(f"chain_{_DTYPE_NAMES[dtype]}")
        # Never written: `empty_like` takes half the time of `empty`.
        self._like = [torch.empty_like(p, dtype=dtype, device="cpu") for p in parameters]
        self._shared_counts = tuple(shared_counts)

    def __call__(self, grad_constants: Tensor) -> list[Tensor]:
        """The gradients of the parameters, in the data type of the constants.

        Args:
            grad_constants: Gradients of the constants in each batch element, [C, B, N].
        """
        words = [*grad_constants.shape, len(self._like)]
        words += (grad_constants.data_ptr(), self._derivatives.data_ptr())

        grads = [*map(torch.empty_like, self._like)]
        for grad, shared_count in zip(grads, self._shared_counts, strict=True):
            words += (grad.numel(), shared_count, grad.data_ptr())

        block = array("q", words)  # lives until the call returns
        self._kernel(block.buffer_info()[0])
        return grads
