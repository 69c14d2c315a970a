"""The report of a finished run."""

__all__: list[str] = []
