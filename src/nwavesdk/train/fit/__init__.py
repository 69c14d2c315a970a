"""The training of a run: its net, its task, the steps, the checkpoint."""

__all__: list[str] = []
