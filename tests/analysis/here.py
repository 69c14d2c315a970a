"""An executor for tests: it runs jobs in this process."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from nwavesdk.analysis.study.executors import Workers


class Here:
    """Runs jobs in this process, one after another and without pictures, which is faster.

    Attributes:
        called: The names of the functions and the folders of their jobs.
    """

    def __init__(self) -> None:
        self.called: list[tuple[str, str]] = []

    def __enter__(self) -> Workers:
        self.threads = torch.get_num_threads()
        return Workers(1, self.submit)

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.threads)

    def submit(self, work: Any, job: Any) -> Future[Any]:
        """A future that has ended."""
        self.called.append((getattr(work, "__name__", ""), Path(str(job[0])).name))
        future: Future[Any] = Future()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
            try:
                future.set_result(work(job))
            except Exception as error:
                future.set_exception(error)
        return future

    def call(self, work: Any, job: Any) -> Any:
        """The result of a function. Raises the error that the function raises."""
        with self as workers:
            return workers.submit(work, job).result()
