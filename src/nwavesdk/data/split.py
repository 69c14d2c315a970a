"""Training, validation and test set: which recordings are learned from, selected on and reported.

A split keeps together what belongs together. The best one is official: the same for everybody who
uses the data. The next best has no speaker (or patient, or other group) in two sets. The last one
is by recording. `choose_split` takes the best that can be had, or the one that was asked for, and
describes it in one line.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np

from nwavesdk.data.assignment import CannotSplitError, assign_recordings, require_rest
from nwavesdk.data.recordings import Indices, hash_order
from nwavesdk.data.source import Part
from nwavesdk.data.split_case import (
    TEST,
    TRAIN,
    VAL,
    ChosenSplit,
    KeptTogether,
    Noun,
    Split,
    SplitCase,
    SplitChoice,
    SplitKind,
    describe_reason,
)
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

SET_OF_PART: dict[str, int] = {"train": TRAIN, "val": VAL, "test": TEST}
SET_NAMES = {VAL: "validation", TEST: "test"}


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
    choice: SplitChoice = SplitChoice(),  # noqa: B008  # frozen
) -> ChosenSplit:
    """Split recordings as wanted, or in the best way that can be had.

    - An official split (parts of folders, of a file or of a table) is used unchanged. A validation
      or a test set that it lacks is split off its training set: by group or speaker, if they are
      known and enough, otherwise by recording. If only a validation set is missing, it may lack
      classes with few recordings.
    - By speaker or group, none is in two sets. By recording, each class is split by the hashes of
      its keys. See `nwavesdk.data.assignment`.
    - Folds are by group or speaker, if they are known and enough, otherwise by recording. Each
      recording is tested in exactly one fold. The validation set is split off the rest like that
      of an official split, but starts at a different place in the order of hashes for each fold.
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
        ValueError: If the split that is wanted cannot be had; the text has the reason and the
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
    if not classes:
        labels = np.zeros(len(keys), np.int64)
        classes = ("",)
    case = SplitCase(
        tuple(keys),
        labels,
        tuple(classes),
        tuple(parts) if any(parts) else (),
        tuple(groups) if any(groups) else (),
        choice,
    )
    case.check_pattern()
    if has_folds:
        return _choose_fold(case)
    is_official = choice.by in ("auto", "file") and case.parts
    if choice.by == "folder" or is_official:
        return _take_parts(case)
    return _take_best(case)


def _take_parts(case: SplitCase) -> ChosenSplit:
    """The official split; what it lacks is split off its training set."""
    by: KeptTogether = "file" if case.choice.by == "file" else "folder"
    place = "the table" if by == "file" else "the data"
    if not case.parts:
        raise ValueError(
            "data.split: the data have no official split: put the recordings into folders train, "
            "val and test, or choose another split."
        )
    if "" in case.parts:
        key = case.keys[case.parts.index("")]
        raise ValueError(
            f"data.split: {case.parts.count('')} recordings are in none of train, val and test, "
            f"such as '{printable(key)}': move or remove them."
        )
    set_of = np.array([SET_OF_PART[part] for part in case.parts if part], np.int64)
    train = np.flatnonzero(set_of == TRAIN)
    if not len(train):
        raise ValueError(f"data.split: {place} have no training set: add the part train.")
    for label, name in enumerate(case.classes):
        if not (case.labels[set_of == TRAIN] == label).any():
            raise ValueError(
                f"data.split: class {name!r} has no recording in the training set of the official "
                "split: add some, or leave the class out."
            )
    missing = [subset for subset in (VAL, TEST) if not (set_of == subset).any()]
    notes: list[str] = []
    lack = ""
    if missing == [VAL] and case.choice.keeps_small_classes:
        drawn, how, lack = case.split_validation_off(train)
    elif missing:
        shares = [case.choice.val if subset == VAL else case.choice.test for subset in missing]
        drawn, how = case.split_off(train, shares)
    if missing:
        set_of[train] = np.array([TRAIN, *missing])[drawn]
        names = " and ".join(SET_NAMES[subset] for subset in missing)
        notes = [f"the {names} set is split off the training set by {how}", lack]
    return case.result(set_of, by, notes=notes)


def _take_best(case: SplitCase) -> ChosenSplit:
    """The first of speaker, group and recording that can be had, and why those before cannot."""
    everything = np.arange(len(case.keys))
    shares = (case.choice.val, case.choice.test)
    is_free = case.choice.by in ("auto", "file")
    reasons = ["not by folder: there is no official split"] if is_free else []
    for noun in case.nouns():
        try:
            return case.result(case.assign(noun, everything, shares), noun, notes=reasons)
        except CannotSplitError as error:
            if case.is_noun_wanted:
                raise
            reasons.append(f"not by {noun}: {describe_reason(error)}")
    set_of = assign_recordings(case.keys, case.labels, case.classes, shares)
    return case.result(set_of, "recording", notes=reasons)


def _choose_fold(case: SplitCase) -> ChosenSplit:
    """The sets of one fold of a cross-validation."""
    choice = case.choice
    option = "folds" if choice.leave_one_out is None else "leave_one_out"
    if case.parts and choice.by in ("auto", "folder", "file"):
        remedy = "choose --split speaker, group or recording to mix it"
        if choice.by == "file":
            remedy = "leave the column part out of the table"
        raise ValueError(
            f"data.{option}: the data have an official split, which folds would mix: {remedy}, or "
            "leave the folds out."
        )
    if choice.by == "folder":
        raise ValueError(f"data.{option}: folds are not those of folders: leave --split out.")
    if choice.fold is None:
        raise ValueError(f"data.fold: {option} needs the fold to test, from 1: give it.")
    if choice.leave_one_out is not None:
        return _leave_one_out(case, choice.leave_one_out, choice.fold)
    assert choice.folds is not None
    if choice.folds < 2:
        raise ValueError(f"data.folds: expected 2 or more, got {choice.folds}.")
    if not 1 <= choice.fold <= choice.folds:
        raise ValueError(f"data.fold: expected 1 to {choice.folds}, got {choice.fold}.")
    fold_of, by, reasons = case.folds(choice.folds)
    set_of = np.where(fold_of == choice.fold - 1, TEST, TRAIN)
    start = Fraction(choice.fold - 1, choice.folds)
    reasons.append(_split_validation_off(case, set_of, by, start))
    return case.result(set_of, by, n_folds=choice.folds, notes=reasons)


def _leave_one_out(case: SplitCase, noun: Noun, fold: int) -> ChosenSplit:
    by = case.choice.by
    if by not in ("auto", "file", noun):
        raise ValueError(
            f"data.leave_one_out: leaving one {noun} out is a split by {noun}, got the split by "
            f"{by}: leave --split out."
        )
    names = case.names(noun, np.arange(len(case.keys)))
    unique = sorted(set(names))
    if len(unique) < 2:
        raise ValueError(
            f"data.leave_one_out: there is one {noun}, '{printable(unique[0])}', expected two or "
            f"more: add {noun}s, or leave it out."
        )
    if not 1 <= fold <= len(unique):
        raise ValueError(f"data.fold: expected 1 to {len(unique)}, the {noun}s, got {fold}.")
    number = {name: index for index, name in enumerate(unique)}
    fold_of = np.array([number[name] for name in names], np.int64)
    shown = [f"{noun} '{printable(name)}'" for name in unique]
    require_rest(fold_of, case.labels, case.classes, shown)
    set_of = np.where(fold_of == fold - 1, TEST, TRAIN)
    # From the place of the tested one in the order, so that each validates one fold.
    order = hash_order(unique, np.arange(len(unique))).tolist()
    start = Fraction(order.index(fold - 1), len(unique))
    note = _split_validation_off(case, set_of, noun, start)
    return case.result(set_of, noun, n_folds=len(unique), notes=[note])


def _split_validation_off(
    case: SplitCase, set_of: Indices, by: KeptTogether, place: Fraction
) -> str:
    """Move a part of the training set to the validation set, in place; returns how, as a note.

    Every fold would otherwise draw it from the beginning of the same order: of six speakers, one
    would validate five of the six folds that leave one out.
    """
    rest = np.flatnonzero(set_of == TRAIN)
    start = place if case.choice.rotates_validation else None
    drawn, how = case.split_off(rest, [case.choice.val], by == "recording", start)
    set_of[rest] = np.array([TRAIN, VAL])[drawn]
    return "" if how == by else f"the validation set is by {how}"
