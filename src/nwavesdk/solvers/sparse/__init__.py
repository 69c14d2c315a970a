"""Products of a weight and an input with few non-zeros."""

__all__: list[str] = []
