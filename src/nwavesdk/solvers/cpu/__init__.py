"""The serial solver on CPU tensors: kernels compiled by numba."""

__all__: list[str] = []
