"""The drawn chips of `nwave chips` as jobs on Ray. The counts do not depend on the machines.

A job computes a part of the chips, with the threads of the process that submits it.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nwavesdk.analysis.study.executors import job_result, on_ray
from nwavesdk.deploy import ChipRun
from nwavesdk.deploy.chip_series import RightCounter
from nwavesdk.deploy.detector_series import count_errors
from nwavesdk.internal.processes import LOCAL
from nwavesdk.train.fit.seeds import use_threads
from nwavesdk.train.run_folder import NetChoice

__all__ = ["count_on_ray", "count_part"]

# Each job opens the run and its recordings, which takes as long as the computation of many chips.
MAX_PARTS = 16


def count_on_ray(chip_run: ChipRun, address: str = LOCAL) -> RightCounter:
    """Make the function that counts correct recordings for `ChipRun.series` on Ray.

    All machines of the cluster must see the run and its recordings.

    Args:
        chip_run: The run whose net is tested.
        address: The cluster; see `nwavesdk.analysis.study.executors.join_ray`.
    """
    folder = chip_run.run.folder.path.absolute()
    config = chip_run.run.config
    page = f"{config.page.file}:{config.page.function}" if config.net.name == "file" else None

    def count(seeds: Sequence[int]) -> Tensor:
        threads = torch.get_num_threads()
        work = partial(count_part, folder, page, threads)
        size = -(-len(seeds) // MAX_PARTS)  # rounded up
        parts = [seeds[first : first + size] for first in range(0, len(seeds), size)]
        with on_ray(address, threads) as workers:
            futures = [workers.submit(work, part) for part in parts]
            return torch.cat([torch.tensor(job_result(future)) for future in futures])

    return count


def count_part(
    folder: Path, net: NetChoice | None, threads: int, seeds: Sequence[int]
) -> list[Any]:
    """The number of correct recordings of each chip; or the errors of a detector.

    Args:
        folder: The folder of the run.
        net: The file that builds the net of the run, if it has one.
        threads: Threads of the computation.
        seeds: The seeds of the chips.
    """
    chip_run = ChipRun.open(folder, net=net)
    with use_threads(threads):
        if chip_run.run.task.name == "detect":
            counts = count_errors(chip_run.run, seeds)
        else:
            counts = chip_run.count_right(seeds)
    return list(counts.tolist())
