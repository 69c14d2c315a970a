"""Which split is taken, the line that says so, and laws over made-up sets of recordings."""

import re
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data.split import ChosenSplit, SplitChoice, choose_split

CLASSES = ("a", "b")


def spoken(sizes: list[list[int]]) -> tuple[list[str], np.ndarray]:
    """Keys and labels: speaker s has `sizes[s][c]` recordings of class c."""
    recordings = [
        (f"{CLASSES[c]}/{s:08x}_nohash_{n}.wav", c)
        for s, counts in enumerate(sizes)
        for c, count in enumerate(counts)
        for n in range(count)
    ]
    return [key for key, _ in recordings], np.array([c for _, c in recordings], np.int64)


def speaker_of(key: str) -> str:
    return key[2:10]


def choose(sizes: list[list[int]], **choice: Any) -> ChosenSplit:
    keys, labels = spoken(sizes)
    return choose_split(keys, labels, CLASSES, choice=SplitChoice(**choice))


# Three to twelve speakers, who all say both classes.
SIZES = st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=2), min_size=4, max_size=12)
CHOICES = st.sampled_from(
    [
        SplitChoice("recording"),
        SplitChoice("speaker"),
        SplitChoice("auto"),
        SplitChoice("recording", folds=2),
        SplitChoice("recording", folds=4),
        SplitChoice("speaker", folds=3),
        SplitChoice("auto", folds=4),
        SplitChoice(leave_one_out="speaker"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(SIZES, CHOICES, st.integers(1, 100))
def test_sets_are_disjoint_and_complete_and_have_every_class(
    sizes: list[list[int]], choice: SplitChoice, fold: int
) -> None:
    keys, labels = spoken(sizes)
    if choice.folds or choice.leave_one_out:
        fold = 1 + fold % (choice.folds or len(sizes))
        choice = replace(choice, fold=fold)
    chosen = choose_split(keys, labels, CLASSES, choice=choice)
    assert sorted(np.concatenate([*chosen.indices])) == list(range(len(keys)))
    for indices in chosen.indices:
        assert (np.diff(indices) > 0).all()
        assert set(labels[indices]) == {0, 1}
    if choice.by != "recording":
        train, val, test = ({speaker_of(keys[i]) for i in part} for part in chosen.indices)
        assert not test & (train | val)
        assert not train & val or "the validation set is by recording" in chosen.line
        assert chosen.groups == tuple(map(speaker_of, keys))
        assert set(chosen.tested) == (test if chosen.n_folds else set())


@settings(max_examples=60, deadline=None)
@given(SIZES, CHOICES, st.randoms(use_true_random=False))
def test_a_split_does_not_depend_on_the_order_of_files(
    sizes: list[list[int]], choice: SplitChoice, random: Any
) -> None:
    keys, labels = spoken(sizes)
    if choice.folds or choice.leave_one_out:
        choice = replace(choice, fold=2)
    shuffled = random.sample(range(len(keys)), len(keys))
    first = choose_split(keys, labels, CLASSES, choice=choice)
    other_keys = [keys[i] for i in shuffled]
    second = choose_split(other_keys, labels[shuffled], CLASSES, choice=choice)
    for one, other in zip(first.indices, second.indices, strict=True):
        assert {keys[i] for i in one} == {other_keys[i] for i in other}
    assert first.line == second.line


@settings(max_examples=60, deadline=None)
@given(SIZES, st.sampled_from(["recording", "speaker", "auto", "one out"]), st.integers(2, 4))
def test_each_recording_is_tested_in_exactly_one_fold(
    sizes: list[list[int]], by: str, folds: int
) -> None:
    chosen: dict[str, Any] = {"by": by, "folds": folds}
    if by == "one out":
        chosen = {"leave_one_out": "speaker"}
    try:
        n_folds = choose(sizes, **chosen, fold=1).n_folds
    except ValueError as error:
        # All folds fail together, with two folds of which one has nearly everything.
        for fold in range(1, folds + 1):
            with pytest.raises(ValueError, match=re.escape(str(error))):
                choose(sizes, **chosen, fold=fold)
        assert by == "speaker"
        assert folds == 2
        return
    assert n_folds == (len(sizes) if by == "one out" else folds)
    tested = [choose(sizes, **chosen, fold=fold).indices.test for fold in range(1, n_folds + 1)]
    assert sorted(np.concatenate(tested)) == list(range(sum(map(sum, sizes))))


def moved(before: dict[str, int], after: dict[str, int]) -> int:
    return sum(before[key] != after[key] for key in before)


@pytest.mark.parametrize("by", ["recording", "speaker"])
def test_a_recording_that_is_added_moves_few_others_to_another_fold(by: str) -> None:
    sizes = np.random.default_rng(1).integers(1, 5, (200, 2)).tolist()

    def fold_of(sizes: list[list[int]]) -> dict[str, int]:
        keys, _ = spoken(sizes)
        tested = [choose(sizes, by=by, folds=5, fold=fold).indices.test for fold in range(1, 6)]
        return {keys[i]: fold for fold, indices in enumerate(tested) for i in indices}

    before = fold_of(sizes)
    counts = []
    for speaker in range(0, 200, 20):
        more = [[counts[0] + (i == speaker), counts[1]] for i, counts in enumerate(sizes)]
        counts.append(moved(before, fold_of(more)))
    assert max(counts) < 0.05 * len(before)
    assert np.mean(counts) < 0.02 * len(before)


@pytest.mark.parametrize("n_speakers", range(3, 12))
def test_each_speaker_validates_one_of_the_folds_that_leave_one_out(n_speakers: int) -> None:
    def often(**choice: Any) -> list[int]:
        """How many folds each speaker validates."""
        keys, _ = spoken([[3, 3]] * n_speakers)
        counts = Counter[str]()
        for fold in range(1, n_speakers + 1):
            chosen = choose([[3, 3]] * n_speakers, leave_one_out="speaker", fold=fold, **choice)
            counts.update({speaker_of(keys[i]) for i in chosen.indices.val})
        return sorted(counts.values())

    # A share of less than 1.5 speakers, so that one of them is nearest to it.
    assert often(val=1 / n_speakers) == [1] * n_speakers
    # Runs that began earlier.
    assert often(val=1 / n_speakers, rotates_validation=False) == [1, n_speakers - 1]


def test_few_speakers_of_different_sizes_validate_in_turn() -> None:
    sizes = [[20, 24], [25, 25], [30, 30]]
    keys, _ = spoken(sizes)
    folds = [choose(sizes, leave_one_out="speaker", fold=fold) for fold in (1, 2, 3)]
    validated = [{speaker_of(keys[i]) for i in fold.indices.val} for fold in folds]
    assert set.union(*validated) == {speaker_of(key) for key in keys}


@pytest.mark.parametrize("n_folds", [2, 3, 5, 8])
def test_no_recording_validates_two_folds_by_recording(n_folds: int) -> None:
    def most_often(**choice: Any) -> int:
        counts = Counter[int]()
        for fold in range(1, n_folds + 1):
            of_fold = {"by": "recording", "val": 0.1, "folds": n_folds, "fold": fold}
            counts.update(choose([[3, 4]] * 20, **of_fold, **choice).indices.val.tolist())
        return max(counts.values())

    assert most_often() == 1
    assert most_often(rotates_validation=False) >= n_folds - 1


def test_folds_are_about_equally_large() -> None:
    sizes = np.random.default_rng(0).integers(0, 5, (300, 2)).tolist()
    total = sum(map(sum, sizes))
    for by in ("speaker", "recording"):
        folds = [choose(sizes, by=by, folds=10, fold=fold) for fold in range(1, 11)]
        assert [len(fold.indices.test) for fold in folds] == pytest.approx([total / 10] * 10, abs=8)
    # Also if no class can be divided equally.
    few = [choose([[1, 1]] * 6, by="recording", folds=5, fold=fold) for fold in range(1, 6)]
    assert Counter(len(fold.indices.test) for fold in few) in ({2: 3, 3: 2}, {2: 4, 4: 1})


def test_the_fold_of_a_key_never_changes() -> None:
    keys, labels = spoken([[1, 1]] * 7)
    choice = SplitChoice("speaker", folds=3, fold=1)
    chosen = choose_split(keys, labels, CLASSES, choice=choice)
    # By `sha256sum` of the names.
    assert chosen.tested == ("00000003", "00000006")
    choice = SplitChoice("recording", folds=3, fold=1)
    chosen = choose_split(keys, labels, CLASSES, choice=choice)
    # By the first eight digits of `sha256sum` of a class, and the order of those of its keys.
    assert {keys[i][:10] for i in chosen.indices.test} == {
        *("a/00000001", "a/00000004"),
        *("b/00000003", "b/00000005", "b/00000006"),
    }


OFFICIAL = ["train"] * 12 + ["val"] * 2 + ["test"] * 2
SIX = [[1, 1]] * 6


def test_an_official_split_is_used_unchanged() -> None:
    keys, labels = spoken([[1, 1]] * 8)
    chosen = choose_split(keys, labels, CLASSES, OFFICIAL)
    assert [part.tolist() for part in chosen.indices] == [[*range(12)], [12, 13], [14, 15]]
    assert chosen.by == "folder"
    assert chosen.groups == tuple(map(speaker_of, keys))
    assert chosen.line == (
        "split by folder, unchanged: 12 training, 2 validation and 2 test recordings"
    )
    table = SplitChoice("file", note="3 recordings that it does not name are left out")
    chosen = choose_split(keys, labels, CLASSES, OFFICIAL, choice=table)
    assert chosen.by == "file"
    assert chosen.line.endswith("recordings; 3 recordings that it does not name are left out")


@pytest.mark.parametrize(
    ("parts", "name", "words"),
    [
        (["train"] * 14 + ["test"] * 2, "{:08x}_nohash_{}", "validation set is split off .* by sp"),
        (["train"] * 14 + ["val"] * 2, "{:08x}_nohash_{}", "the test set is split off .* speaker"),
        (["train"] * 16, "{}-{}", "validation and test set is split off the tr.* by recording"),
    ],
)
def test_what_an_official_split_lacks_is_split_off_its_training_set(
    parts: list[Any], name: str, words: str
) -> None:
    keys = [f"{c}/{name.format(s, c)}.wav" for s in range(8) for c in CLASSES]
    keys = [key.replace("_a.", "_0.").replace("_b.", "_1.") for key in keys]
    labels = np.arange(16) % 2
    chosen = choose_split(keys, labels, CLASSES, parts)
    sets = [set(part.tolist()) for part in chosen.indices]
    assert set().union(*sets) == set(range(16))
    for part, indices in zip(("train", "val", "test"), sets, strict=True):
        given_indices = {i for i in range(16) if parts[i] == part}
        assert indices
        assert indices <= given_indices if part == "train" else indices >= given_indices
    assert re.search(words, chosen.line)


@pytest.mark.parametrize(
    ("large", "small", "of_large", "of_small", "lack"),
    [
        # Each large class gives its share; the small ones give one each until theirs is met.
        ([20, 4], [3, 3, 2, 2, 1, 1], [3, 1], 2, "it lacks 4 classes with few recordings"),
        ([20], [1], [3], 0, "it lacks 1 class with few recordings"),
        # One recording is the least that a validation set can have.
        ([], [2, 1, 1], [], 1, "it lacks 2 classes with few recordings"),
        ([20, 4], [], [3, 1], 0, None),
        ([4], [], [3], 0, None),  # with a share of 0.9: one is left to learn from
    ],
)
def test_a_class_with_few_recordings_may_keep_them_to_learn_from(
    large: list[int], small: list[int], of_large: list[int], of_small: int, lack: str | None
) -> None:
    counts = [*large, *small]
    labels = np.repeat(np.arange(len(counts)), counts)
    keys = [f"{label}/{index}" for index, label in enumerate(labels)]
    tested = [str(label) for label in range(len(counts))]
    parts: list[Any] = ["train"] * len(keys) + ["test"] * len(tested)
    every_label = np.concatenate([labels, np.arange(len(counts))])
    choice = SplitChoice(val=0.9, test=0.05) if counts == [4] else SplitChoice()
    chosen = choose_split([*keys, *tested], every_label, tested, parts, choice=choice)
    validated = np.bincount(every_label[chosen.indices.val], minlength=len(counts)).tolist()
    assert validated[: len(large)] == of_large
    assert sum(validated[len(large) :]) == of_small
    able = [label for label in range(len(large), len(counts)) if counts[label] > 1]
    able.sort(key=lambda label: sha256(str(label).encode()).digest())
    assert [label for label in able if validated[label]] == able[:of_small]
    assert set(labels.tolist()) == set(every_label[chosen.indices.train].tolist())
    assert lack in chosen.line if lack else "lacks" not in chosen.line


def test_a_validation_set_needs_a_class_with_two_recordings() -> None:
    parts: list[Any] = ["train", "train", "test", "test"]
    with pytest.raises(ValueError, match=r"^Class 'a' has 1 recordings, expected at least 2"):
        choose_split(["1", "2", "3", "4"], np.array([0, 1, 0, 1]), CLASSES, parts)


def test_the_best_split_is_taken_and_the_line_says_why_no_better_one() -> None:
    keys, labels = spoken(SIX)
    groups = [f"patient {i % 4}" for i in range(12)]
    every_group = choose_split(keys, labels, CLASSES, groups=[f"p{i // 2}" for i in range(12)])
    assert every_group.by == "group"
    assert every_group.line == (
        "split by group: 8 training, 2 validation and 2 test recordings of 6 groups; "
        "not by folder: there is no official split"
    )
    # Each group says one class only.
    by_speaker = choose_split(keys, labels, CLASSES, groups=groups)
    assert by_speaker.by == "speaker"
    assert "not by group: 4 groups are too few for three sets" in by_speaker.line
    plain = [f"{key[0]}/{i}.wav" for i, key in enumerate(keys)]
    by_recording = choose_split(plain, labels, CLASSES)
    assert by_recording.by == "recording"
    assert by_recording.groups == ()
    assert by_recording.line.startswith(
        "split by recording: 8 training, 2 validation and 2 test recordings; not by folder: there "
        "is no official split; not by speaker: names do not show who speaks: got 'a/0.wav' (give a "
        "pattern with --speaker-pattern or rename the files)"
    )
    by_pattern = choose_split(
        [key.replace("nohash", "x") for key in keys],
        labels,
        CLASSES,
        choice=SplitChoice(pattern="/([0-9a-f]+)_"),
    )
    assert by_pattern.by == "speaker"


def test_recordings_without_classes_are_split_too() -> None:
    keys, _ = spoken(SIX)
    for choice in (SplitChoice(), SplitChoice("recording"), SplitChoice(folds=3, fold=3)):
        chosen = choose_split(keys, np.full(12, 7), (), choice=choice)
        assert all(len(part) for part in chosen.indices)
        assert sum(map(len, chosen.indices)) == 12
    with pytest.raises(ValueError, match=r"^The data set has 2 recordings, expected at least 3"):
        choose_split(["a", "b"], np.zeros(2, np.int64))


NAMELESS = ["a/1.wav", "a/2.wav", "a/3.wav", "b/1.wav", "b/2.wav", "b/3.wav"]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"by": "folder"}, "^data.split: the data have no official split: put .* folders train"),
        ({"by": "speaker"}, "do not show who speaks: got 'a/1.wav'.*or split by recording"),
        ({"by": "group"}, r"There are no groups: name them in a table \(--split FILE.csv\), or"),
        ({"folds": 3}, r"^data.fold: folds needs the fold to test, from 1"),
        ({"folds": 3, "fold": 4}, "^data.fold: expected 1 to 3, got 4"),
        ({"folds": 1, "fold": 1}, "^data.folds: expected 2 or more"),
        ({"folds": 4, "fold": 1}, "Class 'a' has 3 recordings, expected at least 4 for 4 folds"),
        ({"by": "folder", "folds": 3, "fold": 1}, "^data.folds: folds are not those of folders"),
        ({"by": "speaker", "folds": 3, "fold": 1}, "do not show who speaks"),
        ({"leave_one_out": "group", "fold": 1}, "There are no groups"),
        (
            {"by": "recording", "leave_one_out": "speaker", "fold": 1},
            "^data.leave_one_out: leaving one speaker out is a split by speaker, got .* recording",
        ),
        ({"by": "recording", "pattern": "(a)"}, "^data.speaker_pattern: has no effect"),
        ({"leave_one_out": "group", "fold": 1, "pattern": "(a)"}, "^data.speaker_pattern: has no"),
        ({"pattern": "(a)/"}, "is not found in 'b/1.wav'"),
        ({"pattern": "(./)"}, "2 speakers are too few for three sets"),
        ({"leave_one_out": "speaker", "fold": 1, "pattern": "([0-9]|.).wav"}, None),
        (
            {"leave_one_out": "speaker", "fold": 2, "pattern": "([ab])/"},
            "^Without speaker 'a', class 'a' has 0 recordings, expected at least 2, to train and",
        ),
        ({"leave_one_out": "speaker", "fold": 3, "pattern": "([ab])/"}, "^data.fold: .* 1 to 2"),
        (
            {"leave_one_out": "speaker", "fold": 1, "pattern": "(wav)"},
            "there is one speaker, 'wav'",
        ),
    ],
)
def test_what_cannot_be_had_is_an_error_with_the_reason(
    choice: dict[str, Any], words: str | None
) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    if words is None:
        assert choose_split(NAMELESS, labels, CLASSES, choice=SplitChoice(**choice)).n_folds == 3
        return
    with pytest.raises(ValueError, match=words) as error:
        choose_split(NAMELESS, labels, CLASSES, choice=SplitChoice(**choice))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("parts", "choice", "words"),
    [
        (["val"] * 3 + ["test"] * 3, {}, "^data.split: the data have no training set"),
        (["train"] * 5 + [""], {}, "^data.split: 1 recordings are in none of train.*'b/3.wav'"),
        (
            ["train"] * 3 + ["test"] * 3,
            {},
            "^data.split: class 'b' has no recording in the training set",
        ),
        (
            ["train"] * 3 + ["test", "val", "val"],
            {},
            "^data.split: class 'b' has no recording in the training set",
        ),
        (["train"] * 6, {"folds": 3, "fold": 1}, "^data.folds: the data have an official split"),
        (["train"] * 6, {"by": "file", "leave_one_out": "group", "fold": 1}, "an official split"),
    ],
)
def test_a_faulty_official_split_is_an_error(
    parts: list[Any], choice: dict[str, Any], words: str
) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match=words):
        choose_split(NAMELESS, labels, CLASSES, parts, choice=SplitChoice(**choice))


def test_an_official_split_is_mixed_only_if_that_is_asked_for() -> None:
    keys, labels = spoken([[1, 1]] * 8)
    choice = SplitChoice("speaker", folds=2, fold=1)
    assert choose_split(keys, labels, CLASSES, OFFICIAL, choice=choice).by == "speaker"
    choice = SplitChoice("recording")
    assert choose_split(keys, labels, CLASSES, OFFICIAL, choice=choice).by == "recording"
    of_table = SplitChoice("file", folds=2, fold=1)
    with pytest.raises(ValueError, match="would mix: leave the column part out of the table, or"):
        choose_split(keys, labels, CLASSES, OFFICIAL, choice=of_table)


def test_a_group_that_is_missing_is_named() -> None:
    keys, labels = spoken(SIX)
    groups = ["p"] * 11 + [""]
    with pytest.raises(ValueError, match=r"1 recordings have no group, such as 'b/00000005_nohash"):
        choose_split(keys, labels, CLASSES, groups=groups, choice=SplitChoice("group"))
    line = choose_split(keys, labels, CLASSES, groups=groups).line
    assert "not by group: 1 recordings have no group" in line


@pytest.mark.parametrize(("val", "test"), [(0.45, 0.45), (0.9, 0.05), (0.05, 0.9)])
def test_large_shares_leave_something_to_learn_from(val: float, test: float) -> None:
    for count in range(3, 8):
        keys = [f"{c}/{n}.wav" for c in CLASSES for n in range(count)]
        labels = np.repeat([0, 1], count)
        choice = SplitChoice("recording", val, test)
        for indices in choose_split(keys, labels, CLASSES, choice=choice).indices:
            assert set(labels[indices]) == {0, 1}


def test_a_class_that_few_speakers_say_is_in_each_fold() -> None:
    sizes = [[4, 0]] * 20 + [[4, 1]] * 4 + [[60, 0]]
    _, labels = spoken(sizes)
    for fold in range(1, 5):
        chosen = choose(sizes, by="speaker", folds=4, fold=fold)
        assert np.bincount(labels[chosen.indices.test])[1] == 1
        assert len(chosen.indices.train) > 2 * len(chosen.indices.val)
    with pytest.raises(ValueError, match=r"25 speakers are too few for 5 folds .* \(class 'b' is"):
        choose(sizes, by="speaker", folds=5, fold=1)
    assert choose(sizes, by="auto", folds=3, fold=1).by == "speaker"
    with pytest.raises(ValueError, match="Class 'b' has 4 recordings, expected at least 5"):
        choose(sizes, by="auto", folds=5, fold=1)
