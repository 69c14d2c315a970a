"""What decides the order of sums on a CPU, as the config of a run holds it: read at its begin, set when it goes on."""

import contextlib
import os
import warnings
from collections.abc import Iterator

import torch

from nwavesdk.solvers import crossover
from nwavesdk.train.config import ArithmeticConfig

__all__ = ["arithmetic_now", "same_arithmetic"]


def arithmetic_now() -> ArithmeticConfig:
    """Threads and crossovers of this process.

    Raises:
        ValueError: the user's own table is broken.
    """
    return ArithmeticConfig(threads=torch.get_num_threads(), crossovers=crossover.active_table().content())


@contextlib.contextmanager
def same_arithmetic(config: ArithmeticConfig | None) -> Iterator[None]:
    """Compute as the run did when it began; a run of before this was recorded goes on with what is set."""
    if config is None:
        yield
        return
    threads, table, cores = torch.get_num_threads(), crossover.chosen_table(), os.cpu_count() or 1
    if config.threads > max(threads, cores):
        warnings.warn(
            f"the run began with {config.threads} threads, this machine has {cores} cores: it goes on with "
            f"{config.threads} threads for the same weights, more slowly than a new run.",
            stacklevel=3,
        )
    try:
        torch.set_num_threads(config.threads)
        crossover.use_table(config.table())
        yield
    finally:
        torch.set_num_threads(threads)
        crossover.use_table(table)
