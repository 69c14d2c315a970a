"""The development sets: where they are, how they are split, and the accuracy that is the goal.

All defaults of `nwave train` are chosen on the validation sets of these. Each set is trained on
by `nwave train --data PATH` with these defaults. Options say how it is split, or how far a class
looks ahead; the sets of Fashion-MNIST, which are optional, also choose the net and how it learns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["SETS", "DevelopmentSet", "chosen_sets", "find_data"]

# Where Debian's package `dataset-fashion-mnist` and the like put their files.
SYSTEM_FOLDER = Path("/usr/share/datasets")


@dataclass(frozen=True, eq=False)
class DevelopmentSet:
    """A data set with a goal.

    Attributes:
        name: The name of its table row.
        kind: What its recordings are: `"sound"`, `"series"`, `"labels"`, `"events"`, `"image"`.
        path: Its place in the folder of all data; `digits` is built in.
        data_options: Other choices for `nwave train`, as fields of `data`: the split, or
            augmentation.
        net_options: Fields of `net`, such as its name, if `nwave train` would choose others.
        learning_options: Fields of `learning`, such as the epochs, if they differ from the recipe.
        task_options: Fields of `task`, such as how far a class looks ahead.
        goal: The accuracy to reach [%]; None without one.
        baseline: What the goal is compared with.
        fold: The fold on which choices are made, of a set with cross-validation.
        is_optional: Whether the set is left out unless it is asked for.
    """

    name: str
    kind: str
    path: str
    data_options: Mapping[str, Any] = field(default_factory=dict)
    net_options: Mapping[str, Any] = field(default_factory=dict)
    learning_options: Mapping[str, Any] = field(default_factory=dict)
    task_options: Mapping[str, Any] = field(default_factory=dict)
    goal: float | None = None
    baseline: str = ""
    fold: int | None = None
    is_optional: bool = False

    def options(self) -> list[str]:
        """The options of `nwave train` besides `--data`, `--out` and `--seed`."""
        fields = {
            **self.net_options,
            **self.data_options,
            **self.task_options,
            **self.learning_options,
        }
        words = []
        for name, value in fields.items():
            option = "net" if name == "name" else name.replace("_", "-")
            words += [f"--{option}", _option_text(value)]
        return words

    def choices(self, data: Path | str) -> dict[str, Any]:
        """The same in the form of `RunConfig.of`.

        Args:
            data: The place of the data.
        """
        sections = {
            "data": {"source": str(data), **self.data_options},
            "task": dict(self.task_options),
            "net": dict(self.net_options),
            "learning": dict(self.learning_options),
        }
        return {name: fields for name, fields in sections.items() if fields}


def _option_text(value: Any) -> str:
    """The value of an option: sizes as `64,64`, strengths of changes as `flip=0.5,erase=0.4`."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={strength:g}" for name, strength in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


SETS: tuple[DevelopmentSet, ...] = (
    DevelopmentSet(
        "arabic-words",
        "sound",
        "arabic-words",
        goal=96.0,
        baseline="CNN 91.1, with augmentation 92.4; SVM 85.7",
    ),
    DevelopmentSet("digits", "series", "digits", goal=98.6, baseline="SVM 98.8"),
    DevelopmentSet(
        "spoken-digits",
        "sound",
        "spoken-digits",
        {"leave_one_out": "speaker"},
        goal=78.0,
        baseline="CNN 73.1",
        fold=1,
    ),
    DevelopmentSet(
        "yes-no",
        "sound",
        "speech-commands-yes-no",
        {"split": "speaker"},
        goal=96.0,
        baseline="earlier default 92",
    ),
    DevelopmentSet("ecg", "labels", "ecg-qtdb.npz", goal=87.0, baseline="published SRNN 85.9"),
    DevelopmentSet(
        "ecg-ahead",
        "labels",
        "ecg-qtdb.npz",
        task_options={"look_ahead": 80},
        goal=87.0,
        baseline="published SRNN 85.9, which sees no later step",
    ),
    DevelopmentSet(
        "JapaneseVowels",
        "series",
        "JapaneseVowels",
        goal=98.0,
        baseline="best of the UEA table 98–99",
    ),
    DevelopmentSet(
        "BasicMotions", "series", "BasicMotions", goal=100.0, baseline="best of the UEA table 100"
    ),
    DevelopmentSet(
        "nmnist",
        "events",
        "nmnist-small",
        {"split": "recording", "folds": 5},
        goal=97.0,
        baseline="SpikingJelly 97 (100 recordings)",
        fold=1,
    ),
    DevelopmentSet(
        "fashion-dense",
        "image",
        "fashion-mnist",
        {"augment": {"flip": 0.5, "rotate": 3, "zoom": 0.03, "move": 0.6}},
        {"name": "adlif", "hidden": (1024, 1024), "dropout": 0.2},
        {"batch_size": 256, "epochs": 60},
        goal=91.0,
        baseline="dense nets of one hidden layer 89–90",
        is_optional=True,
    ),
    DevelopmentSet(
        "fashion-conv",
        "image",
        "fashion-mnist",
        {"steps": 12, "augment": {"flip": 0.5, "erase": 0.43}},
        {"name": "conv"},
        {"epochs": 18},
        goal=92.5,
        baseline="dense nets of one hidden layer 89–90",
        is_optional=True,
    ),
)


def chosen_sets(names: Sequence[str] | None) -> list[DevelopmentSet]:
    """The sets with some names or kinds; without names, all that are not optional.

    Raises:
        ValueError: If no set has a name.

    Example:
        >>> [one.name for one in chosen_sets(["ecg", "events"])]
        ['ecg', 'nmnist']
    """
    if not names:
        return [data_set for data_set in SETS if not data_set.is_optional]
    known = {name for data_set in SETS for name in (data_set.name, data_set.kind)}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--only: got {unknown[0]!r}, expected one of {', '.join(sorted(known))}")
    return [data_set for data_set in SETS if {data_set.name, data_set.kind} & set(names)]


def find_data(data_set: DevelopmentSet, folder: Path) -> Path | str | None:
    """The place of a set's data: in the folder, in its folder `uea`, or of a package of Debian.

    Args:
        data_set: The set.
        folder: The folder of all data.

    Returns:
        The path, `digits` for the data that are built in, or None if they are missing.
    """
    if data_set.path == "digits":
        return data_set.path
    places = (folder / data_set.path, folder / "uea" / data_set.path, SYSTEM_FOLDER / data_set.path)
    return next((path for path in places if path.exists()), None)
