"""Training, validation and test set: which recordings are learned from, selected on and reported.

A split keeps together what belongs together. The best one is official: the same for everybody who
uses the data. The next best has no speaker (or patient, or other group) in two sets. The last one
is by recording. `choose_split` takes the best that is possible, or the one that was asked for, and
describes it in one line.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, Literal, TypeVar

import numpy as np

from nwavesdk.data.assignment import (
    OR_BY_RECORDING,
    CannotSplitError,
    assign,
    fold_goals,
    require_rest,
    share_goals,
    validation_goals,
)
from nwavesdk.data.recordings import Indices, hash_order
from nwavesdk.data.source import Part
from nwavesdk.data.speakers import match_speakers, speakers_of
from nwavesdk.internal.files import printable

__all__ = [
    "ChosenSplit",
    "KeptTogether",
    "Split",
    "SplitChoice",
    "SplitKind",
    "check_shares",
    "choose_split",
]

# What a split is decided by, and what may be asked for. "file" is a table; see `read_split_table`.
KeptTogether = Literal["folder", "file", "speaker", "group", "recording"]
SplitKind = Literal["auto", "folder", "file", "speaker", "group", "recording"]
Level = Literal["speaker", "group", "recording"]

# The sets of a split, as integers, in the order in which they get recordings.
TEST, VAL, TRAIN = range(3)
SET_OF_PART = {"test": TEST, "val": VAL, "train": TRAIN}
SET_NAMES = {TEST: "test", VAL: "validation"}

# What is kept together if it is asked for by name.
NOUNS: dict[str, Sequence[Level]] = {
    "speaker": ("speaker",),
    "group": ("group",),
    "recording": (),
}

# Names of tested speakers that a line has.
MAX_NAMED = 3

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
        by: What decides it. `"auto"`: the best that is possible of folder, group or speaker, and
            recording. `"file"`: the parts of a table, or, if it has none, as `"auto"`.
        val: Share of each class in the validation set; of the training set, if it is split off one.
        test: Share of each class in the test set.
        pattern: Regular expression that finds the speaker in a key; see `match_speakers`.
        folds: Number of folds of a cross-validation.
        leave_one_out: What each fold tests one of; instead of `folds`.
        fold: The fold that is tested, from 1.
        note: What the line on the screen adds, such as files that a table does not name.

    Example:
        >>> from nwavesdk.data import choose_split
        >>> keys = [f"{index}.wav" for index in range(6)]
        >>> third = SplitChoice("recording", folds=3, fold=3)
        >>> choose_split(keys, np.zeros(6, np.int64), ["yes"], choice=third).indices.test
        array([2, 4])
    """

    by: SplitKind = "auto"
    val: float = 0.15
    test: float = 0.15
    pattern: str | None = None
    folds: int | None = None
    leave_one_out: Literal["speaker", "group"] | None = None
    fold: int | None = None
    note: str = ""


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
        >>> chosen = choose_split(keys, np.zeros(6, np.int64), ["yes"], parts)
        >>> chosen.by, chosen.indices.as_dict()
        ('folder', {'train': array([0, 1]), 'val': array([2, 3]), 'test': array([4, 5])})
    """

    indices: Split[Indices]
    by: KeptTogether
    groups: tuple[str, ...]
    n_folds: int
    tested: tuple[str, ...]
    line: str


def check_shares(val: float, test: float) -> None:
    """Raise unless both shares are positive and leave recordings to learn from.

    Raises:
        ValueError: If a share is not positive, or both sum to 1 or more.
    """
    if not (val > 0 and test > 0 and val + test < 1):
        raise ValueError(
            "The shares of the validation and the test set must be positive and sum below 1, got "
            f"{val} and {test}."
        )


def choose_split(
    keys: Sequence[str],
    labels: Indices,
    classes: Sequence[str] = (),
    parts: Sequence[Part | Literal[""]] = (),
    groups: Sequence[str] = (),
    choice: SplitChoice = SplitChoice(),
) -> ChosenSplit:
    """Split recordings as wanted, or in the best way that is possible.

    - An official split (parts of folders, of a file or of a table) is used unchanged. A validation
      or a test set that it lacks is split off its training set: by group or speaker, if they are
      known and enough, otherwise by recording. If only a validation set is missing, it may lack
      classes with few recordings.
    - By speaker or group, none is in two sets. By recording, each class is split by the hashes of
      its keys. See `nwavesdk.data.assignment`.
    - Folds are by group or speaker, if they are known and enough, otherwise by recording. Each
      recording is tested in exactly one fold. The validation set is split off the rest, and starts
      at a different place in the order of hashes for each fold.
    - Leaving one out, fold i tests the i-th speaker or group in the order of their names.

    Args:
        keys: A name for each recording, which decides its set; `B` of them.
        labels: Class index of each recording, `[B]`; ignored without classes.
        classes: Name of each class; empty if recordings have none, as in regression or with labels
            per step.
        parts: The set of each recording in an official split; empty, or `""` for all, without one.
        groups: The group of each recording; empty, or `""` for all, without groups.
        choice: The split that is wanted.

    Returns:
        The split; each set has every class, except for those of an official split and the test
        set that leaves one out.

    Raises:
        ValueError: If the split that is wanted is not possible; the text has the reason and the
            remedy.

    Example:
        >>> keys = [f"yes/{name}-{index}.wav" for name in ("ann", "bob", "eve") for index in "12"]
        >>> choice = SplitChoice("speaker", pattern="/([a-z]+)-")
        >>> choose_split(keys, np.zeros(6, np.int64), ["yes"], choice=choice).line
        'split by speaker: 2 training, 2 validation and 2 test recordings of 3 speakers'
    """
    has_folds = choice.folds is not None or choice.leave_one_out is not None
    if not has_folds:  # which decide the test set
        check_shares(choice.val, choice.test)
    by = choice.leave_one_out or choice.by
    if choice.pattern is not None and by in ("group", "recording"):
        raise ValueError(
            f"data.speaker_pattern: has no effect on a split by {by}: remove one of the two."
        )

    names: dict[Level, Sequence[str]] = {"recording": keys, "group": groups or [""] * len(keys)}
    if choice.pattern is not None:
        names["speaker"] = match_speakers(keys, choice.pattern)
    if not classes:
        labels = np.zeros(len(keys), np.int64)
    case = _Case(labels, classes or ("",), names, choice)

    is_official = any(parts) and choice.by in ("auto", "file")
    if has_folds:
        return _choose_fold(case, is_official)
    if is_official or choice.by == "folder":
        return _take_parts(case, parts)
    set_of = np.full(len(keys), TRAIN)
    taken, notes = case.split_off(set_of, [TEST, VAL], case.levels)
    if choice.by in ("auto", "file"):
        notes = ["not by folder: there is no official split", *notes]
    return case.result(set_of, taken, notes)


@dataclass(frozen=True, eq=False)
class _Case:
    """Recordings and their names at each level, and how they are to be split.

    The names of speakers are known if there is a pattern; those of groups are empty without them.
    """

    labels: Indices
    classes: Sequence[str]
    names: dict[Level, Sequence[str]]
    choice: SplitChoice

    @property
    def nouns(self) -> Sequence[Level]:
        """What may be kept together, the best first."""
        by = self.choice.leave_one_out or self.choice.by
        known: Sequence[Level] = ("group", "speaker") if any(self.names["group"]) else ("speaker",)
        return NOUNS.get(by, ("speaker",) if "speaker" in self.names else known)

    @property
    def levels(self) -> Sequence[Level]:
        """The ways to split, the best first; only one if a speaker or group is asked for."""
        is_asked_for = self.choice.by in ("speaker", "group") or "speaker" in self.names
        return self.nouns if is_asked_for else (*self.nouns, "recording")

    def names_of(self, level: Level, indices: Indices) -> tuple[str, ...]:
        """The speaker, the group or the key of some recordings.

        Raises:
            CannotSplitError: If they are not known.
        """
        keys = [self.names["recording"][i] for i in indices]
        if level not in self.names:
            return speakers_of(keys)
        names = tuple(self.names[level][i] for i in indices)
        if "" in names:
            key = printable(keys[names.index("")])
            raise CannotSplitError(
                f"{names.count('')} recordings have no group, such as '{key}'",
                "name the group of each in a table (--split FILE.csv)",
                OR_BY_RECORDING,
            )
        return names

    def counts(self, indices: Indices) -> Indices:
        """The number of recordings of each class, `[classes]`."""
        return np.bincount(self.labels[indices], minlength=len(self.classes))

    def assign(
        self,
        levels: Sequence[Level],
        indices: Indices,
        goals: Indices,
        start: Fraction | None = None,
        folds: Sequence[str] = (),
    ) -> tuple[Indices, Level, list[str]]:
        """Assign some recordings to sets by the first level with which it is possible.

        Args:
            levels: What may be kept together, the best first.
            indices: The recordings.
            goals: See `nwavesdk.data.assignment.assign`.
            start: Where the order begins.
            folds: Name of each set if sets are folds, outside of which enough must remain.

        Returns:
            The set of each recording, the level, and why not those before it.

        Raises:
            CannotSplitError: If it is not possible with the last level.
        """
        level, *others = levels
        labels = self.labels[indices]
        try:
            names = self.names_of(level, indices)
            set_of = assign(names, labels, self.classes, goals, level, start)
            require_rest(set_of, labels, self.classes, folds)
            return set_of, level, []
        except CannotSplitError as error:
            if not others:
                raise
            reason = error.reason.partition(", expected")[0]
            note = f"not by {level}: {reason[0].lower()}{reason[1:]} ({error.remedy})"
        set_of, level, notes = self.assign(others, indices, goals, start, folds)
        return set_of, level, [note, *notes]

    def split_off(
        self,
        set_of: Indices,
        sets: Sequence[int],
        levels: Sequence[Level],
        start: Fraction | None = None,
        keeps_small: bool = False,
    ) -> tuple[Level, list[str]]:
        """Move recordings of the training set to other sets, in place.

        Args:
            set_of: The set of each recording, `[B]`.
            sets: The sets that get recordings.
            levels: What may be kept together, the best first.
            start: Where the order begins.
            keeps_small: Whether the set, a single one, may lack classes with few recordings.

        Returns:
            What is kept together, and why nothing before it.
        """
        shares = {TEST: self.choice.test, VAL: self.choice.val}
        train = np.flatnonzero(set_of == TRAIN)
        goals = share_goals(self.counts(train), [shares[subset] for subset in sets])
        if keeps_small:
            goals = validation_goals(self.counts(train), shares[VAL])
        drawn, level, notes = self.assign(levels, train, goals, start)
        set_of[train] = np.array([*sets, TRAIN])[drawn]
        return level, notes

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
        names: tuple[str, ...] = ()
        for noun in reversed(NOUNS.get(by, self.nouns)):
            with suppress(CannotSplitError):
                names = self.names_of(noun, np.arange(len(set_of)))
        indices = Split(*(np.flatnonzero(set_of == subset) for subset in (TRAIN, VAL, TEST)))
        tested = sorted({names[i] for i in indices.test}) if n_folds and names else []

        sizes = indices.map(len)
        head = f"fold {self.choice.fold} of {n_folds}" if n_folds else "split"
        official = ", unchanged" if by in ("folder", "file") and not notes else ""
        of_names = f" of {len(set(names))} {by}s" if by in ("speaker", "group") else ""
        line = (
            f"{head} by {by}{official}: {sizes.train:,} training, {sizes.val:,} validation and "
            f"{sizes.test:,} test recordings{of_names}"
        )
        shown = ", ".join(map(printable, tested[:MAX_NAMED]))
        more = f" and {len(tested) - MAX_NAMED} more" if len(tested) > MAX_NAMED else ""
        tested_on = f"tested on {shown}{more}" if tested else ""
        line = "; ".join(filter(None, [line, tested_on, *notes, self.choice.note]))
        return ChosenSplit(indices, by, names, n_folds, tuple(tested), line)


def _take_parts(case: _Case, parts: Sequence[str]) -> ChosenSplit:
    """The official split; what it lacks is split off its training set."""
    keys = case.names["recording"]
    parts = parts or [""] * len(keys)
    without = [key for key, part in zip(keys, parts, strict=True) if not part]
    if without:
        raise ValueError(
            f"data.split: {len(without):,} of {len(keys):,} recordings are in none of train, val "
            f"and test, such as '{printable(without[0])}': put all into such folders or name their "
            "sets in a table, or choose another split."
        )
    set_of = np.array([SET_OF_PART[part] for part in parts])
    counts = case.counts(np.flatnonzero(set_of == TRAIN))
    if not counts.all():
        name = case.classes[int(counts.argmin())]
        subject = f"class {name!r}" if name else "the data set"
        raise ValueError(
            f"data.split: {subject} has no recording in the training set of the official split: "
            "add some, or remove the class."
        )

    notes = []
    missing = [subset for subset in (TEST, VAL) if subset not in set_of]
    if missing:
        levels: Sequence[Level] = (*case.nouns, "recording")
        how, _ = case.split_off(set_of, missing, levels, keeps_small=missing == [VAL])
        names = " and ".join(SET_NAMES[subset] for subset in reversed(missing))
        notes.append(f"the {names} set is split off the training set by {how}")
    n_lacking = int((case.counts(np.flatnonzero(set_of == VAL)) == 0).sum())
    if n_lacking and missing == [VAL]:
        noun = "class" if n_lacking == 1 else "classes"
        notes.append(f"it lacks {n_lacking} {noun} with few recordings")
    return case.result(set_of, "file" if case.choice.by == "file" else "folder", notes)


def _choose_fold(case: _Case, is_official: bool) -> ChosenSplit:
    """The sets of one fold of a cross-validation."""
    choice = case.choice
    noun = choice.leave_one_out
    option = "leave_one_out" if noun else "folds"
    if is_official or choice.by == "folder":
        raise ValueError(
            f"data.{option}: folds would mix an official split: choose --split speaker, group or "
            "recording to mix it, remove the column part of a table, or remove the folds."
        )
    if noun and choice.by not in ("auto", "file", noun):
        raise ValueError(
            f"data.leave_one_out: leaving one {noun} out is a split by {noun}, got the split by "
            f"{choice.by}: remove --split."
        )

    everything = np.arange(len(case.labels))
    names = case.names_of(noun, everything) if noun else ()
    unique = sorted(set(names))
    n_folds = len(unique) if noun else choice.folds or 0
    if n_folds < 2 or choice.fold is None or not 1 <= choice.fold <= n_folds:
        raise ValueError(
            f"data.fold: got fold {choice.fold} of {n_folds}, expected one from 1 on, of 2 or more."
        )

    # Every fold starts its validation set at another place in the order of hashes. Otherwise, the
    # same recordings would validate nearly all of them.
    tested = choice.fold - 1
    if noun:
        by: Level = noun
        notes: list[str] = []
        fold_of = np.searchsorted(unique, names)
        titles = [f"{noun} '{printable(name)}'" for name in unique]
        require_rest(fold_of, case.labels, case.classes, titles)
        start = hash_order(unique, np.arange(n_folds)).tolist().index(tested)
    else:
        titles = [f"fold {number}" for number in range(1, n_folds + 1)]
        goals = fold_goals(case.counts(everything), n_folds)
        fold_of, by, notes = case.assign(case.levels, everything, goals, folds=titles)
        start = tested

    set_of = np.where(fold_of == tested, TEST, TRAIN)
    nouns = () if by == "recording" else case.nouns
    how, _ = case.split_off(set_of, [VAL], (*nouns, "recording"), Fraction(start, n_folds))
    if how != by:
        notes.append(f"the validation set is by {how}")
    return case.result(set_of, by, notes, n_folds)
