"""Records of a run next to its choices: its data, the versions and the machine.

Like `nwavesdk.train.config`, the module imports neither torch nor numba. Validators that need more
import it when they run.
"""

import os
import platform
from typing import Annotated, Literal

from pydantic import Field

from nwavesdk.chip import Profile
from nwavesdk.internal.model import FrozenModel
from nwavesdk.internal.version import __version__
from nwavesdk.train.config.fields import Count, NotNegative

__all__ = ["Facts", "Origin"]

Name = Annotated[str, Field(min_length=1, max_length=100)]


class Origin(FrozenModel):
    """The versions and the machine with which a run began; nothing names a user or a folder.

    A resumed run keeps this record, and may continue with other versions or on another machine.
    """

    nwavesdk: Name
    python: Name
    torch: Name
    numpy: Name
    numba: Name
    system: Name
    machine: Name
    cores: Count

    @classmethod
    def current(cls) -> "Origin":
        """The versions and the machine of this process."""
        import numba
        import numpy
        import torch

        return cls(
            nwavesdk=__version__,
            python=platform.python_version(),
            torch=torch.__version__,
            numpy=numpy.__version__,
            numba=numba.__version__,
            system=platform.system() or "unknown",
            machine=platform.machine() or "unknown",
            cores=os.cpu_count() or 1,
        )

    def line(self) -> str:
        """The versions and the machine in one line."""
        return (
            f"nwavesdk {self.nwavesdk}, Python {self.python}, torch {self.torch}, "
            f"NumPy {self.numpy}, numba {self.numba}; {self.system}, {self.machine}, "
            f"{self.cores} core{'s' * (self.cores != 1)}"
        )


class Facts(FrozenModel):
    """The data, the chip, the versions and the machine when the run began."""

    classes: tuple[str, ...] = Field(description="Name of each class; none for values.")
    n_targets: NotNegative = Field(description="Values of the target in each step; 0 for classes.")
    feature_shape: tuple[Count, ...] = Field(description="Shape of the features of a frame.")
    feature_names: tuple[str, ...] = Field(
        default=(), description="Names of the features of a series, if its files have them."
    )
    n_features: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        description="Features of a frame: the inputs of the net."
    )
    fingerprint: str = Field(description="Hash of the content of the data.")
    recordings: tuple[Count, Count, Count] = Field(
        description="Recordings in the training, validation and test set."
    )
    typical_steps: Count = Field(
        description="Time steps within which nine of ten recordings of the training set end."
    )
    patterns: tuple[tuple[str, Count], ...] = Field(
        default=(),
        description="Name and frames of each pattern; they decide the noise from which the net "
        "generates it.",
    )
    split_by: Literal["recording", "speaker", "group", "folder", "file"] = Field(
        description="The property that the split kept together."
    )
    split_reason: str = Field(description="Why they were split like this.")
    split_version: Count = Field(
        description="Version of the rules that assigned recordings to sets."
    )
    n_folds: NotNegative = Field(
        default=0, description="Folds of the cross-validation; 0 without one."
    )
    tested: tuple[str, ...] = Field(
        default=(), description="Speakers or groups that the fold is tested on, if they are known."
    )
    skipped: tuple[tuple[str, str], ...] = Field(
        default=(), description="Path inside the folder and fault of each skipped file."
    )
    profile: str | None = Field(
        default=None, description="All numbers of the chip as JSON, for a run for a chip."
    )
    begun_with: Origin = Field(
        description="Versions of nwavesdk, Python, torch, NumPy and numba, the system, the machine "
        "and its number of cores."
    )

    @property
    def chip(self) -> Profile | None:
        """The chip as it was when the run began."""
        return None if self.profile is None else Profile.from_json(self.profile)
