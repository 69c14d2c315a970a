"""The error of a run that cannot go on, and for which its user, not this library, is to blame."""

__all__ = ["BrokenRunError"]


class BrokenRunError(RuntimeError):
    """Training diverged, or the checkpoint to go on from is damaged; the text says what to do."""
