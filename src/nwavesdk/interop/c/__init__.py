"""A quantized net as C99, equal to `net(x)` to the bit."""

__all__: list[str] = []
