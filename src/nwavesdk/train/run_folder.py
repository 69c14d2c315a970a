"""The folder of a run: the names of its files, whether it is free, and whether the run finished."""

import json
from pathlib import Path
from typing import Any

from nwavesdk.internal.files import write_atomically
from nwavesdk.train.config import RunConfig

__all__ = ["BrokenRunError", "RunFolder"]


class BrokenRunError(RuntimeError):
    """Training diverged, or the checkpoint is damaged; the text says what the user can do."""


class RunFolder:
    """The folder of one run.

    Args:
        path: The folder.

    Attributes:
        config: `config.json`, written first.
        checkpoint: The state of the run, written after each epoch.
        metrics: Table with one row per epoch.
        model: The selected weights and the scale of the features.
        pictures: Folder of the pictures.
        report: Page with pictures and numbers.
        result: `result.json`, written last.
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
        """Whether the run finished: `result.json` exists."""
        return self.result.is_file()

    def check_free(self) -> None:
        """Reject a folder that holds anything.

        Raises:
            ValueError: If the folder holds a run or other files, which are left untouched.
        """
        if self.config.is_file():
            state = (
                "a finished run: choose another --out"
                if self.finished
                else "an unfinished run: add --resume to continue it, or choose another --out"
            )
            raise ValueError(f"{self.path} already holds {state}.")
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise ValueError(
                f"{self.path} is in use and holds no run: choose a new or empty folder for --out."
            )

    def begin(self, config: RunConfig) -> None:
        """Make the folder and write the config; if two processes try, one succeeds.

        Raises:
            ValueError: If the folder is not free.
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
            ValueError: If there is no run in the folder, or its config is damaged.
        """
        if not self.config.is_file():
            raise ValueError(
                f"{self.path} holds no run (no config.json): "
                "give the folder of an earlier `nwave train`."
            )
        return RunConfig.read(self.config)

    def read_result(self) -> dict[str, Any]:
        """The numbers of a finished run."""
        return dict(json.loads(self.result.read_text("utf-8")))

    def write_result(self, result: dict[str, Any]) -> None:
        """Write the numbers, which marks the run as finished."""
        write_atomically(self.result, (json.dumps(result, indent=2) + "\n").encode())
