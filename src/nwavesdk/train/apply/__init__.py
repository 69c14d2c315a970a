"""A trained run applied to recordings."""

__all__: list[str] = []
