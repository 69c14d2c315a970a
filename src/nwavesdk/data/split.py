"""Training, validation and test set: which recordings are learned from, selected on and reported.

The best split is official: everybody who uses the data has the same sets. The next best has no
speaker (or patient, or other group) in two sets. The last resort splits single recordings.
`choose_split` takes the best split that is possible, or the requested split, and describes it in
one line.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from fractions import Fraction
from functools import partial
from textwrap import shorten
from typing import Generic, Literal, TypeVar

import numpy as np

from nwavesdk.data.assignment import CannotSplitError, assign, fold_goals, share_goals
from nwavesdk.data.recordings import Array, Indices, hash_order
from nwavesdk.data.source import PARTS, Part
from nwavesdk.data.speakers import match_speakers, speakers_of
from nwavesdk.internal.files import printable

__all__ = [
    "ChosenSplit",
    "KeptTogether",
    "Split",
    "SplitChoice",
    "SplitKind",
    "choose_split",
]

# The property that a split keeps together, and the splits that may be requested. "file" is a table;
# see `read_split_table`.
KeptTogether = Literal["folder", "file", "speaker", "group", "recording"]
SplitKind = Literal["auto", KeptTogether]

# The levels of groups that a request keeps together.
REQUESTED_LEVELS: dict[str, tuple[KeptTogether, ...]] = {
    "speaker": ("speaker",),
    "group": ("group",),
    "recording": (),
}

# The sets besides the training set, in the order in which they get recordings, and their names on
# the screen.
HELD_OUT = {"test": "test", "val": "validation"}

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, eq=False)
class Split(Generic[T]):
    """One value for each of the three sets; iteration returns them in this order.

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
        return iter((self.train, self.val, self.test))

    def map(self, function: Callable[[T], U]) -> "Split[U]":
        """The function applied to each value."""
        return Split(*map(function, self))

    def as_dict(self) -> dict[str, T]:
        """The values by the name of their set."""
        return dict(zip(PARTS, self, strict=True))


@dataclass(frozen=True)
class SplitChoice:
    """The requested split.

    Args:
        by: The property that is kept together. `"auto"`: the best possible of folder, group or
            speaker, and recording. `"file"`: the parts of a table; without parts, as `"auto"`.
        val: Share of each class in the validation set; of the training set, if the validation set
            is split off an official training set.
        test: Share of each class in the test set.
        pattern: Regular expression that finds the speaker in a key; see `match_speakers`.
        folds: Number of folds of a cross-validation.
        leave_one_out: In place of `folds`: each fold tests one speaker or one group.
        fold: The fold that is tested, from 1.
        note: A note for the line on the screen.

    Raises:
        ValueError: If a share is out of its range, or options contradict each other.

    Example:
        >>> from nwavesdk.data import choose_split
        >>> keys = [f"{index}.wav" for index in range(6)]
        >>> third = SplitChoice("recording", folds=3, fold=3)
        >>> choose_split(keys, np.zeros(6, np.int64), ["yes"], choice=third).indices.test
        array([2, 4])
    """

    by: SplitKind = "auto"
    _: KW_ONLY
    val: float = 0.15
    test: float = 0.15
    pattern: str | None = None
    folds: int | None = None
    leave_one_out: Literal["speaker", "group"] | None = None
    fold: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        has_shares = 0 < min(self.val, self.test) < self.val + self.test < 1
        if not (has_shares or self.folds or self.leave_one_out):  # folds decide the test set
            raise ValueError(
                "The shares of the validation and the test set must be positive and sum below 1, "
                f"got {self.val} and {self.test}."
            )

        requested = {self.by, self.leave_one_out, None if self.pattern is None else "speaker"}
        if len(requested - {"auto", "folder", "file", None}) > 1:
            raise ValueError(
                f"data.split: options contradict each other, got the split {self.by!r}, "
                f"leave_one_out {self.leave_one_out!r} and speaker_pattern {self.pattern!r}: "
                "remove one of them."
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class ChosenSplit:
    """A split, and the reasons for it.

    Args:
        indices: The recordings of each set, in rising order.
        by: The property that was kept together.
        groups: The speaker or group of each recording, if they are kept together; otherwise empty.
        n_folds: Number of folds; 0 without cross-validation.
        tested: Names of the speakers or groups in the test set of a fold; otherwise empty.
        line: A description with the reasons, for the screen.

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


def choose_split(
    keys: Sequence[str],
    labels: Indices,
    classes: Sequence[str] = (),
    parts: Sequence[Part | Literal[""]] = (),
    groups: Sequence[str] = (),
    choice: SplitChoice = SplitChoice(),
) -> ChosenSplit:
    """Split recordings as requested, or in the best way that is possible.

    - An official split (parts of folders, of a file or of a table) is used unchanged. A missing set
      is split off the training set.
    - A split by speaker or group has no speaker or group in two sets. It is chosen if these are
      known and enough, otherwise a split by recording, in the order of the hashes of the keys.
    - Each recording is tested in exactly one fold. The validation set is split off the remaining
      recordings.
    - With `leave_one_out`, fold i tests the i-th speaker or group in the order of their names.

    Args:
        keys: A name for each recording, which decides its set; `B` of them.
        labels: Class index of each recording, `[B]`.
        classes: Name of each class; empty if recordings have none.
        parts: The set of each recording in an official split; otherwise empty.
        groups: The group of each recording; empty without groups.
        choice: The requested split.

    Returns:
        The split. Each set has every class, except for the sets of an official split and the test
        set of `leave_one_out`.

    Raises:
        ValueError: If the requested split is not possible.

    Example:
        >>> keys = [f"yes/{name}-{index}.wav" for name in ("ann", "bob", "eve") for index in "12"]
        >>> choice = SplitChoice("speaker", pattern="/([a-z]+)-")
        >>> choose_split(keys, np.zeros(6, np.int64), ["yes"], choice=choice).line
        'split by speaker: 2 training, 2 validation and 2 test recordings of 3 speakers'
    """
    # The names that recordings can be grouped by. Without a pattern, speakers follow from the keys.
    titles = [f"Class {name!r}" for name in classes] or ["The data set"]
    names: dict[KeptTogether, Sequence[str]] = {
        "recording": keys,
        "group": groups or [""] * len(keys),
    }
    known: tuple[KeptTogether, ...] = ("group", "speaker") if any(groups) else ("speaker",)
    if choice.pattern is not None:
        names["speaker"] = match_speakers(keys, choice.pattern)
        known = ("speaker",)

    recordings = _Named(
        names,
        labels if classes else np.zeros(len(keys), np.int64),
        titles,
    )

    # The levels that may be kept together, the best first. If a level of groups is requested, a
    # split by recording does not replace it.
    grouped = REQUESTED_LEVELS.get(choice.leave_one_out or choice.by, known)
    is_requested = choice.by in grouped or choice.pattern is not None
    levels = grouped if is_requested else (*grouped, "recording")

    draft = _Draft(set_of=np.full(len(keys), "train"))
    if choice.by == "folder" or (any(parts) and choice.by in ("auto", "file")):
        draft = _official_draft(recordings, parts, choice)
    elif choice.folds or choice.leave_one_out:
        draft = _fold_draft(recordings, choice, levels)
    elif choice.by in ("auto", "file"):
        draft.notes.append("not by folder: there is no official split")

    # Sets that are split off an official training set, or off the folds, may be by recording.
    if draft.by:
        levels = ("recording",) if draft.by == "recording" else (*grouped, "recording")
    by = _complete(draft, recordings, choice, levels)

    sets = Split("train", "val", "test").map(lambda name: np.flatnonzero(draft.set_of == name))
    owners = recordings.names_of(by, np.arange(len(keys))) if by in ("speaker", "group") else ()
    tested = sorted({owners[i] for i in sets.test if owners and draft.n_folds})
    chosen = ChosenSplit(
        indices=sets, by=by, groups=owners, n_folds=draft.n_folds, tested=tuple(tested), line=""
    )
    return replace(chosen, line=_describe(chosen, choice, draft.notes))


@dataclass(kw_only=True)
class _Draft:
    """Sets of recordings, of which the training set may still have to be divided.

    Args:
        set_of: The name of the set of each recording, str `[B]`.
        by: The property that is kept together; None if all recordings are in the training set.
        notes: Notes for the line of the split.
        n_folds: Number of folds.
        start: Start of the order in which other sets are split off the training set.
    """

    set_of: Array
    by: KeptTogether | None = None
    notes: list[str] = field(default_factory=list)
    n_folds: int = 0
    start: Fraction | None = None


@dataclass(frozen=True, eq=False)
class _Named:
    """Recordings and their names at each level.

    Args:
        names: Names of the recordings and of their groups, empty for unknown groups; also names of
            speakers, if they do not follow from the file names.
        labels: Class index of each recording.
        titles: The title of each class in errors.
    """

    names: dict[KeptTogether, Sequence[str]]
    labels: Indices
    titles: Sequence[str]

    def names_of(self, level: KeptTogether, indices: Indices) -> tuple[str, ...]:
        """The speaker, the group or the key of some recordings; empty if unknown."""
        if level not in self.names:
            return speakers_of([self.names["recording"][i] for i in indices])
        return tuple(self.names[level][i] for i in indices)

    def assign(
        self,
        levels: Sequence[KeptTogether],
        indices: Indices,
        goals: Callable[[Indices], Indices] | None,
        start: Fraction | None = None,
        are_folds: bool = False,
    ) -> tuple[Indices, KeptTogether, list[str]]:
        """Assign some recordings to sets by the first level with which it is possible.

        Args:
            levels: The levels that may be kept together, the best first.
            indices: The recordings.
            goals: See `nwavesdk.data.assignment.assign`.
            start: See `nwavesdk.data.assignment.assign`.
            are_folds: See `nwavesdk.data.assignment.assign`.

        Returns:
            The set of each recording, the level, and the reasons against the levels before it.

        Raises:
            CannotSplitError: If it is not possible with any level.
        """
        labels = self.labels[indices]
        notes = []
        for level in levels:
            names = self.names_of(level, indices)
            try:
                if "" in names:
                    raise CannotSplitError(
                        f"{names.count('')} recordings have no {level}, such as "
                        f"'{printable(self.names['recording'][indices[names.index('')]])}'",
                        "set or correct --speaker-pattern, or name groups in a table",
                    )
                set_of = assign(
                    names,
                    labels,
                    self.titles,
                    goals,
                    noun=level,
                    start=start,
                    are_folds=are_folds,
                )
                break
            except CannotSplitError as error:
                if level == levels[-1]:
                    raise

                reason = error.args[0].partition(", expected")[0]
                notes.append(f"not by {level}: {reason[0].lower()}{reason[1:]} ({error.args[1]})")
        return set_of, level, notes


def _official_draft(recordings: _Named, parts: Sequence[str], choice: SplitChoice) -> _Draft:
    """The sets of an official split."""
    if choice.folds or choice.leave_one_out:
        raise ValueError(
            "data.folds: folds would mix an official split: choose --split speaker, group or "
            "recording to mix it, remove the column part of a table, or remove the folds."
        )

    # Each recording needs a set, and the training set needs each class.
    keys = recordings.names["recording"]
    set_of = np.array(parts or [""] * len(keys), "U5")
    without = np.flatnonzero(set_of == "")
    if len(without):
        raise ValueError(
            f"data.split: {len(without):,} of {len(keys):,} recordings are in none of train, val "
            f"and test, such as '{printable(keys[without[0]])}': put all into such folders or name "
            "their sets in a table, or choose another split."
        )
    train = np.bincount(recordings.labels[set_of == "train"], minlength=len(recordings.titles))
    if not train.all():
        raise ValueError(
            f"data.split: {recordings.titles[int(train.argmin())]} has no recording in the "
            "training set of the official split: add some, or remove the class."
        )
    return _Draft(set_of=set_of, by="file" if choice.by == "file" else "folder")


def _fold_draft(recordings: _Named, choice: SplitChoice, levels: Sequence[KeptTogether]) -> _Draft:
    """The test set of a fold of a cross-validation; everything else is the training set."""
    level = choice.leave_one_out
    everything = np.arange(len(recordings.labels))
    goals = None if level else partial(fold_goals, folds=choice.folds or 0)
    fold_of, by, notes = recordings.assign(
        [level] if level else levels, everything, goals, are_folds=True
    )
    order = np.unique(fold_of)
    if level:
        # Fold i is group i in the order of names. The start below follows the order of hashes.
        order = hash_order(sorted(set(recordings.names_of(level, everything))), order)

    fold = (choice.fold or 0) - 1
    if fold not in order:
        raise ValueError(
            f"data.fold: got fold {choice.fold} of {len(order)}, expected 1 to {len(order)}."
        )

    # The validation set of each fold starts at another point in the order of hashes. Otherwise, the
    # same recordings would validate nearly all folds.
    start = Fraction(int(np.flatnonzero(order == fold)[0]), len(order))
    return _Draft(
        set_of=np.where(fold_of == fold, "test", "train"),
        by=by,
        notes=notes,
        n_folds=len(order),
        start=start,
    )


def _complete(
    draft: _Draft, recordings: _Named, choice: SplitChoice, levels: Sequence[KeptTogether]
) -> KeptTogether:
    """Split the missing sets off the training set, in place.

    Returns:
        The property that is kept together.
    """
    missing = [name for name in HELD_OUT if name not in draft.set_of]
    if draft.by and not missing:
        return draft.by

    train = np.flatnonzero(draft.set_of == "train")
    shares = [getattr(choice, name) for name in missing]
    may_lack = draft.by in ("folder", "file") and missing == ["val"]
    goals = partial(share_goals, shares=shares, may_lack_small=may_lack)
    drawn, level, reasons = recordings.assign(levels, train, goals, draft.start)
    draft.set_of[train] = np.array([*missing, "train"])[drawn]

    draft.notes += reasons
    if draft.by not in (None, level):
        names = " and ".join(HELD_OUT[name] for name in reversed(missing))
        n_classes = len(np.unique(recordings.labels[draft.set_of == "val"]))
        lack = ", without small classes" if n_classes < len(recordings.titles) and may_lack else ""
        draft.notes.append(f"the {names} set is split off the training set by {level}{lack}")
    return draft.by or level


def _describe(chosen: ChosenSplit, choice: SplitChoice, notes: Sequence[str]) -> str:
    """The line of a split: its sizes, the groups in the test set of a fold, and notes."""
    head = f"fold {choice.fold} of {chosen.n_folds}" if chosen.n_folds else "split"
    sizes = "{:,} training, {:,} validation and {:,} test".format(*chosen.indices.map(len))
    texts = [f"{head} by {chosen.by}: {sizes} recordings"]
    if chosen.groups:
        texts[0] += f" of {len(set(chosen.groups))} {chosen.by}s"
    if chosen.tested:
        names = shorten(", ".join(map(printable, chosen.tested)), 60, placeholder=" …")
        texts.append(f"tested on {names}")
    return "; ".join(filter(None, [*texts, *notes, choice.note]))
