"""What a split is asked for and what comes of it, and the ways to split one set of recordings.

`nwavesdk.data.split` chooses between them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Generic, Literal, TypeVar

import numpy as np

from nwavesdk.data.assignment import (
    OR_BY_RECORDING,
    CannotSplitError,
    assign_groups,
    assign_recordings,
    assign_validation,
    fold_groups,
    fold_recordings,
    require_rest,
)
from nwavesdk.data.recordings import Indices
from nwavesdk.data.speakers import match_speakers, speakers_of
from nwavesdk.internal.files import printable

__all__ = [
    "TEST",
    "TRAIN",
    "VAL",
    "ChosenSplit",
    "KeptTogether",
    "Noun",
    "Split",
    "SplitCase",
    "SplitChoice",
    "SplitKind",
    "describe_reason",
]

# What a split is decided by, and what may be asked for. "file" is a table; see `read_split_table`.
KeptTogether = Literal["folder", "file", "speaker", "group", "recording"]
SplitKind = Literal["auto", "folder", "file", "speaker", "group", "recording"]
Noun = Literal["speaker", "group"]

# The sets of a split, as integers.
TRAIN = 0
VAL = 1
TEST = 2

# Names of tested speakers that a line has.
MOST_NAMED = 3

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, eq=False)
class Split(Generic[T]):
    """One value for each of the three sets; iteration gives them in this order.

    Args:
        train: For the training set, to learn from.
        val: For the validation set, to select on.
        test: For the test set, to report once.

    Example:
        >>> Split(70, 15, 15).map(float).as_dict()
        {'train': 70.0, 'val': 15.0, 'test': 15.0}
    """

    train: T
    val: T
    test: T

    def __iter__(self) -> Iterator[T]:
        yield from (self.train, self.val, self.test)

    def map(self, function: Callable[[T], U]) -> "Split[U]":
        """The function of each value."""
        return Split(*map(function, self))

    def as_dict(self) -> dict[str, T]:
        """The values by the name of their set."""
        return {"train": self.train, "val": self.val, "test": self.test}


@dataclass(frozen=True)
class SplitChoice:
    """Which split is wanted.

    Args:
        by: What decides it. `"auto"`: the best that can be had of folder, group or speaker, and
            recording. `"file"`: the parts of a table, or, if it has none, as `"auto"`.
        val: Share of each class in the validation set; of the training set, if it is split off one.
        test: Share of each class in the test set.
        pattern: Regular expression that finds the speaker in a key; see `match_speakers`.
        folds: Number of folds of a cross-validation.
        leave_one_out: What each fold tests one of; instead of `folds`.
        fold: The fold that is tested, from 1.
        note: What the line on the screen adds, such as files that a table does not name.
        keeps_small_classes: Whether a validation set that is split off an official training set may
            lack classes with few recordings, which then all stay in the training set.
        rotates_validation: Whether each fold draws its validation set from a different place in the
            order of hashes. Otherwise, most folds share theirs.

    Example:
        >>> from nwavesdk.data import choose_split
        >>> keys = [f"{index}.wav" for index in range(6)]
        >>> third = SplitChoice("recording", folds=3, fold=3)
        >>> choose_split(keys, np.zeros(6, np.int64), ["yes"], choice=third).indices.test
        array([0, 1])
    """

    by: SplitKind = "auto"
    val: float = 0.15
    test: float = 0.15
    pattern: str | None = None
    folds: int | None = None
    leave_one_out: Noun | None = None
    fold: int | None = None
    note: str = ""
    keeps_small_classes: bool = True
    rotates_validation: bool = True


@dataclass(frozen=True, eq=False)
class ChosenSplit:
    """A split, and how it came about.

    Args:
        indices: The recordings of each set, rising.
        by: What was kept together.
        groups: The speaker or group of each recording, `B` names; empty if they are not known.
        n_folds: Number of folds; 0 without cross-validation.
        tested: Names of the speakers or groups in the test set of a fold; empty without them.
        line: What was taken and why, for the screen.

    Example:
        >>> from nwavesdk.data import choose_split
        >>> keys = [f"{part}/{index}.wav" for part in ("train", "val", "test") for index in (1, 2)]
        >>> parts = [key.split("/")[0] for key in keys]
        >>> found = choose_split(keys, np.zeros(6, np.int64), ["yes"], parts)
        >>> found.by, found.indices.as_dict()
        ('folder', {'train': array([0, 1]), 'val': array([2, 3]), 'test': array([4, 5])})
    """

    indices: Split[Indices]
    by: KeptTogether
    groups: tuple[str, ...]
    n_folds: int
    tested: tuple[str, ...]
    line: str


@dataclass(frozen=True, eq=False)
class SplitCase:
    """What `choose_split` got, with parts and groups empty if there are none."""

    keys: tuple[str, ...]
    labels: Indices
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    groups: tuple[str, ...]
    choice: SplitChoice

    def check_pattern(self) -> None:
        """Reject a pattern that would have no effect."""
        choice = self.choice
        by = choice.leave_one_out or choice.by
        if choice.pattern is not None and by in ("group", "recording"):
            raise ValueError(
                f"data.speaker_pattern: has no effect on a split by {by}: leave one of them out."
            )

    @cached_property
    def matched_speakers(self) -> tuple[str, ...]:
        """The speaker of each recording by the pattern of the user."""
        assert self.choice.pattern is not None
        return match_speakers(self.keys, self.choice.pattern)

    def names(self, noun: Noun, indices: Indices) -> tuple[str, ...]:
        """The speaker or group of some recordings.

        Raises:
            CannotSplitError: If they are not known.
            ValueError: If the pattern of the user does not find them.
        """
        if noun == "speaker" and self.choice.pattern is not None:
            return tuple(self.matched_speakers[i] for i in indices)
        if noun == "speaker":
            return speakers_of([self.keys[i] for i in indices])
        chosen = [self.groups[i] for i in indices] if self.groups else []
        if not chosen:
            raise CannotSplitError(
                "There are no groups", "name them in a table (--split FILE.csv)", OR_BY_RECORDING
            )
        if "" in chosen:
            key = self.keys[indices[chosen.index("")]]
            raise CannotSplitError(
                f"{chosen.count('')} recordings have no group, such as '{printable(key)}'",
                "give each a group",
                OR_BY_RECORDING,
            )
        return tuple(chosen)

    def nouns(self) -> tuple[Noun, ...]:
        """What may be kept together, the best first."""
        asked = self.choice.leave_one_out or self.choice.by
        if asked == "recording":
            return ()
        if asked == "speaker" or asked == "group":
            return (asked,)
        if self.choice.pattern is not None:
            return ("speaker",)
        return ("group", "speaker") if self.groups else ("speaker",)

    @property
    def is_noun_wanted(self) -> bool:
        """Whether a speaker or group is asked for, so that nothing else may be taken."""
        return self.choice.by in ("speaker", "group") or self.choice.pattern is not None

    def assign(
        self,
        noun: Noun,
        indices: Indices,
        shares: Sequence[float],
        start: Fraction | None = None,
    ) -> Indices:
        """The set of each of some recordings, by speaker or group; see `assign_groups`."""
        names = self.names(noun, indices)
        return assign_groups(names, self.labels[indices], self.classes, shares, noun, start)

    def split_off(
        self,
        indices: Indices,
        shares: Sequence[float],
        by_recording: bool = False,
        start: Fraction | None = None,
    ) -> tuple[Indices, KeptTogether]:
        """Sets 0, 1, … of a training set: the rest, and a set for each share; and how."""
        found = None if by_recording else self._split_by_name(indices, shares, start)
        if found is not None:
            return found
        keys = [self.keys[i] for i in indices]
        drawn = assign_recordings(keys, self.labels[indices], self.classes, shares, start)
        return drawn, "recording"

    def split_validation_off(self, indices: Indices) -> tuple[Indices, KeptTogether, str]:
        """As `split_off` for the validation set of an official split, and what that set lacks."""
        share = self.choice.val
        found = self._split_by_name(indices, [share])
        if found is not None:
            return *found, ""
        keys = [self.keys[i] for i in indices]
        labels = self.labels[indices]
        drawn = assign_validation(keys, labels, self.classes, share)
        n_missing = len(self.classes) - len(np.unique(labels[drawn == VAL]))
        classes = "class" if n_missing == 1 else "classes"
        lack = f"it lacks {n_missing} {classes} with few recordings" if n_missing else ""
        return drawn, "recording", lack

    def _split_by_name(
        self, indices: Indices, shares: Sequence[float], start: Fraction | None = None
    ) -> tuple[Indices, KeptTogether] | None:
        """Sets by speaker or group; None if they are not known or too few."""
        for noun in self.nouns():
            with suppress(CannotSplitError):
                return self.assign(noun, indices, shares, start), noun
        return None

    def folds(self, folds: int) -> tuple[Indices, KeptTogether, list[str]]:
        """The fold of each recording, from 0; what folds keep together; why not what is better."""
        reasons: list[str] = []
        for noun in self.nouns():
            try:
                names = self.names(noun, np.arange(len(self.keys)))
                fold_of = fold_groups(names, self.labels, self.classes, folds, noun)
                numbers = [f"fold {fold}" for fold in range(1, folds + 1)]
                require_rest(fold_of, self.labels, self.classes, numbers)
                return fold_of, noun, reasons
            except CannotSplitError as error:
                if self.is_noun_wanted:
                    raise
                reasons.append(f"not by {noun}: {describe_reason(error)}")
        fold_of = fold_recordings(self.keys, self.labels, self.classes, folds)
        return fold_of, "recording", reasons

    def result(
        self, set_of: Indices, by: KeptTogether, notes: Sequence[str] = (), n_folds: int = 0
    ) -> ChosenSplit:
        """The split with its line.

        Args:
            set_of: The set of each recording, `[B]`.
            by: What is kept together.
            notes: What the line adds.
            n_folds: Number of folds; 0 without cross-validation.
        """
        names = self._known_names(by)
        indices = Split(*(np.flatnonzero(set_of == subset) for subset in (TRAIN, VAL, TEST)))
        tested = tuple(sorted({names[i] for i in indices.test})) if n_folds and names else ()
        sizes = indices.map(len)
        official = ", unchanged" if by in ("folder", "file") and not notes else ""
        head = f"fold {self.choice.fold} of {n_folds}" if n_folds else "split"
        of_names = f" of {len(set(names))} {by}s" if by in ("speaker", "group") else ""
        line = (
            f"{head} by {by}{official}: {sizes.train:,} training, {sizes.val:,} validation and "
            f"{sizes.test:,} test recordings{of_names}"
        )
        more = [_tested_text(tested), *notes, self.choice.note]
        line = "; ".join([line, *filter(None, more)])
        return ChosenSplit(indices, by, names, n_folds, tested, line)

    def _known_names(self, by: KeptTogether) -> tuple[str, ...]:
        """The speaker or group of each recording that a split has kept together or knows."""
        everything = np.arange(len(self.keys))
        if by == "speaker" or by == "group":
            return self.names(by, everything)
        if by != "recording":
            for noun in self.nouns():
                with suppress(CannotSplitError):
                    return self.names(noun, everything)
        return ()


def _tested_text(names: Sequence[str]) -> str:
    shown = ", ".join(map(printable, names[:MOST_NAMED]))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"tested on {shown}{more}" if names else ""


def describe_reason(error: CannotSplitError) -> str:
    """An error as a part of a line, without what was expected."""
    what = error.what.partition(", expected")[0]
    what = what if what.startswith("Class") else what[0].lower() + what[1:]
    return f"{what} ({error.remedy})"
