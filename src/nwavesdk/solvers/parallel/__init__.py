"""comPaSSo: a sequence solved in parallel over time, with spikes equal to the serial ones."""

__all__: list[str] = []
