"""The recordings of a run: read, split, and as the input of a net."""

__all__: list[str] = []
