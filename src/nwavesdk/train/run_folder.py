"""A run on disk: which file is where, who may begin one, and when it is finished.

The error of a run that cannot go on, and for which its user, not this library, is to blame.
"""

import json
from pathlib import Path
from typing import Any

from nwavesdk.internal.files import write_atomically
from nwavesdk.train.config import RunConfig

__all__ = ["BrokenRunError", "RunFolder"]


class RunFolder:
    """The folder of one run.

    Args:
        path: The folder.

    Attributes:
        config: Written first.
        checkpoint: Written after each epoch.
        metrics: One row an epoch.
        model: The selected weights and the scale of the features.
        pictures: Folder of the pictures.
        report: Pictures and numbers on one page.
        result: Written last.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.checkpoint = path / "checkpoint.ckpt"
        self.metrics = path / "metrics.csv"
        self.model = path / "model.safetensors"
        self.pictures = path / "pictures"
        self.report = path / "report.html"
        self.result = path / "result.json"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end: `result.json` is there."""
        return self.result.is_file()

    def check_free(self) -> None:
        """Refuse a folder that holds anything.

        Raises:
            ValueError: The folder holds a run, or other files; nothing in it is touched.
        """
        if self.config.is_file():
            state = "a finished run" if self.finished else "a run that did not finish"
            remedy = (
                "choose another --out"
                if self.finished
                else "add --resume to go on, or choose another --out"
            )
            raise ValueError(f"{self.path} already holds {state}: {remedy}.")
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(
                f"{self.path} is in use and holds no run: choose a new or empty folder for --out."
            )

    def begin(self, config: RunConfig) -> None:
        """Make the folder and write its config; of two processes that try, one succeeds.

        Raises:
            ValueError: The folder is not free.
        """
        self.check_free()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            write_atomically(self.config, config.json_text().encode(), replace=False)
        except FileExistsError:
            self.check_free()

    def read_config(self) -> RunConfig:
        """The config of the run.

        Raises:
            ValueError: There is no run here, or its config is damaged.
        """
        if not self.config.is_file():
            raise ValueError(
                f"{self.path} holds no run (no config.json): give the folder of an earlier `nwave train`."
            )
        return RunConfig.read(self.config)

    def read_result(self) -> dict[str, Any]:
        """The numbers of a finished run."""
        result: dict[str, Any] = json.loads(self.result.read_text("utf-8"))
        return result

    def write_result(self, result: dict[str, Any]) -> None:
        """Write the numbers; with that the run is finished."""
        write_atomically(self.result, (json.dumps(result, indent=2) + "\n").encode())


class BrokenRunError(RuntimeError):
    """Training diverged, or the checkpoint to go on from is damaged; the text says what to do."""
