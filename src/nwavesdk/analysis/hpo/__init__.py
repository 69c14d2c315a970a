"""Search over the config of a net that a function builds, on NWAVE's data."""

__all__: list[str] = []
