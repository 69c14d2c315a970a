"""Sparse products: the product of an input with few non-zeros and a weight."""

__all__: list[str] = []
