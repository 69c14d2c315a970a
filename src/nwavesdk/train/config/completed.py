"""The config of a run that has begun, `config.json`: its choices, and facts on data and machine.

Like `nwavesdk.train.config`, the module imports neither torch nor numba. Validators that need more
import it when they run.
"""

import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from nwavesdk.chip import Profile
from nwavesdk.internal.files import FileError, read_bytes
from nwavesdk.internal.formats import parse_json
from nwavesdk.internal.model import FrozenModel, differences
from nwavesdk.internal.version import __version__
from nwavesdk.train.config.fields import Count, NotNegative
from nwavesdk.train.config.learning import CompletedLearning
from nwavesdk.train.config.net_file import NetPage
from nwavesdk.train.config.run_config import Choices, RunConfig, merge_choices

__all__ = ["MOVABLE", "CompletedConfig", "Facts", "Origin"]

# Fields that may change after a run has begun, by section.
MOVABLE: dict[str, Any] = {
    "data": {"source"},
    "learning": {"finetune"},
    "net": {"page": {"file"}},
    "page": {"file"},
    "machine": {"accelerator", "workers"},
    "facts": {"split_reason", "begun_with"},
}

# Fields by section, to which the data of a run give a value if the user does not.
FROM_DATA = {
    "data": ("hold", "sample_rate", "add_standardized", "bin"),
    "chip": ("gain", "bits"),
}

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


class CompletedConfig(RunConfig):
    """The config of a run that has begun: all choices, also from the data, and facts.

    `complete` makes it, and a run stores it.

    Example:
        >>> from nwavesdk.train import Run
        >>> config = Run.prepare("runs/digits", {"data": {"limit": 30}}).config
        >>> config.data.hold, config.learning.batch_size, config.facts.recordings
        (1, 4, (10, 10, 10))
    """

    learning: CompletedLearning
    page: NetPage
    facts: Facts

    @model_validator(mode="after")
    def _check_complete(self) -> Self:
        for section, names in FROM_DATA.items():
            for name in names:
                if getattr(getattr(self, section), name, "no such field") is None:
                    raise ValueError(f"{section}.{name}: missing")
        return self

    @classmethod
    def read(cls, path: Path) -> "CompletedConfig":
        """Read `config.json`.

        Raises:
            FileError: If the file cannot be read, or is not the config of a run.
        """
        content = read_bytes(path)
        try:
            return cls.of(parse_json(content, path))
        except FileError as error:
            reason = f"it {error.fault}"
        except (ValueError, TypeError) as error:
            reason = str(error)
        problem = f"is not the config of a run: {reason}"
        raise FileError(path, problem, "restore it, or begin a new run")

    def check_same(self, choices: Choices) -> None:
        """Reject choices that differ from the choices of this run.

        Raises:
            ValueError: If a choice differs; the text names the first difference.
        """
        for section, given in choices.items():
            is_section = isinstance(given, Mapping)
            for choice in [{name: given[name]} for name in given] if is_section else [given]:
                self._check_same_choice({section: choice})

    def _check_same_choice(self, choice: Choices) -> None:
        recorded = self.choices()
        changed = merge_choices(recorded, choice)
        # Validation fills defaults in; a choice that fails it differs from the run in any case.
        with suppress(ValueError):
            changed = RunConfig.of(changed).model_dump()
            if "constants" in recorded["net"]:  # all other constants are defaults
                given = changed["net"]["constants"]
                changed["net"]["constants"] = recorded["net"]["constants"] | given
        for name, got, expected in differences(changed, recorded):
            raise ValueError(
                f"{name}: a resumed run keeps its choices, got {got!r}, expected {expected!r}: "
                "remove the option, or begin a new run."
            )

    def identity(self) -> str:
        """Hash of all choices and facts, except for those that may change; see `MOVABLE`."""
        content = self.model_dump(mode="json", exclude=MOVABLE)
        if self.learning.weight_bits is None:
            # Runs of versions without this field keep their hash.
            del content["learning"]["weight_bits"]
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def choices(self) -> dict[str, Any]:
        """The choices without the records of the run, to begin another run with them."""
        return self.model_dump(exclude={"page", "facts"})
