"""The threads and crossovers of a run, which decide the order of sums on a CPU."""

import contextlib
from collections.abc import Iterator

import torch

from nwavesdk.solvers.sparse import crossover
from nwavesdk.train.config.facts import ArithmeticConfig

__all__ = ["current_arithmetic", "use_arithmetic"]


def current_arithmetic(threads: int | None = None) -> ArithmeticConfig:
    """The arithmetic of a run that begins: its threads, and the crossovers of this process.

    Args:
        threads: Threads of the run; None: the threads of this process.

    Raises:
        ValueError: If the user's own table of crossovers is damaged.
    """
    return ArithmeticConfig(
        threads=threads or torch.get_num_threads(), crossovers=crossover.active_table().content()
    )


@contextlib.contextmanager
def use_arithmetic(config: ArithmeticConfig | None) -> Iterator[None]:
    """Compute with the threads and crossovers with which a run began; None changes nothing."""
    config = config or current_arithmetic()
    threads, table = torch.get_num_threads(), crossover.chosen_table()

    try:
        torch.set_num_threads(config.threads)
        crossover.use_table(config.table())
        yield
    finally:
        torch.set_num_threads(threads)
        crossover.use_table(table)
