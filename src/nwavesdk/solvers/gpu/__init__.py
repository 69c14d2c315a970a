"""The serial solver on CUDA tensors: kernels compiled by Triton."""

__all__: list[str] = []
