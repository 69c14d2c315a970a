"""Which split is taken, the line that describes it, and laws over made-up sets of recordings."""

import re
from collections import Counter
from dataclasses import replace
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


def set_of_keys(sizes: list[list[int]], **choice: Any) -> dict[str, str]:
    """The name of the set of each recording."""
    keys, _ = spoken(sizes)
    sets = choose(sizes, **choice).indices.as_dict()
    return {keys[i]: name for name, indices in sets.items() for i in indices}


def class_counts(sizes: list[list[int]], **choice: Any) -> list[list[int]]:
    """Recordings of each class in the training, validation and test set."""
    _, labels = spoken(sizes)
    sets = choose(sizes, **choice).indices
    return [np.bincount(labels[indices], minlength=2).tolist() for indices in sets]


# Four to twelve speakers, who all say both classes.
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
@given(SIZES, CHOICES, st.integers(1, 100), st.randoms(use_true_random=False))
def test_sets_are_disjoint_and_complete_and_have_every_class(
    sizes: list[list[int]], choice: SplitChoice, fold: int, random: Any
) -> None:
    keys, labels = spoken(sizes)
    if choice.folds or choice.leave_one_out:
        choice = replace(choice, fold=1 + fold % (choice.folds or len(sizes)))
    chosen = choose_split(keys, labels, CLASSES, choice=choice)
    assert sorted(np.concatenate([*chosen.indices])) == list(range(len(keys)))
    for indices in chosen.indices:
        assert (np.diff(indices) > 0).all()
        assert set(labels[indices]) == {0, 1}
    if choice.by != "recording":
        train, val, test = ({speaker_of(keys[i]) for i in part} for part in chosen.indices)
        assert not test & (train | val)
        assert not train & val or "the validation set is split off " in chosen.line
        assert chosen.groups == tuple(map(speaker_of, keys))
        assert set(chosen.tested) == (test if chosen.n_folds else set())
    # The order of files, and the random state of NumPy, change nothing.
    order = random.sample(range(len(keys)), len(keys))
    shuffled = choose_split([keys[i] for i in order], labels[order], CLASSES, choice=choice)
    for indices, others in zip(chosen.indices, shuffled.indices, strict=True):
        assert set(indices) == {order[i] for i in others}
    assert chosen.line == shuffled.line


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=3, max_size=30))
def test_a_split_exists_if_three_speakers_say_everything(sizes: list[list[int]]) -> None:
    try:
        chosen = choose(sizes, by="speaker")
    except ValueError:
        assert sum(min(counts) > 0 for counts in sizes) < 3
    else:
        _, labels = spoken(sizes)
        assert all(set(labels[indices]) == {0, 1} for indices in chosen.indices)


@settings(max_examples=60, deadline=None)
@given(SIZES, st.sampled_from(["recording", "speaker", "auto", "one out"]), st.integers(2, 4))
def test_each_recording_is_tested_in_exactly_one_fold(
    sizes: list[list[int]], by: str, folds: int
) -> None:
    one_out = {"leave_one_out": "speaker"}
    choice: dict[str, Any] = one_out if by == "one out" else {"by": by, "folds": folds}
    n_folds = len(sizes) if by == "one out" else folds
    tested, errors = [], set()
    for fold in range(1, n_folds + 1):
        try:
            tested += choose(sizes, **choice, fold=fold).indices.test.tolist()
        except ValueError as error:
            errors.add(str(error))
    # All folds fail together, with two folds of which one has nearly everything.
    assert sorted(tested) == ([] if errors else list(range(sum(map(sum, sizes)))))
    assert not errors or (len(errors), by, folds) == (1, "speaker", 2)


@pytest.mark.parametrize("choice", [{}, {"folds": 5, "fold": 2}])
@pytest.mark.parametrize("by", ["recording", "speaker"])
def test_a_recording_that_is_added_moves_few_others(by: str, choice: dict[str, Any]) -> None:
    sizes = np.random.default_rng(1).integers(1, 5, (200, 2))
    before = set_of_keys(sizes.tolist(), by=by, **choice)
    n_moved = []
    for more in np.eye(200, dtype=int)[::10]:
        after = set_of_keys((sizes + np.outer(more, [1, 0])).tolist(), by=by, **choice)
        n_moved.append(sum(before[key] != after[key] for key in before))
    assert max(n_moved) < 0.05 * len(before)
    assert np.mean(n_moved) < 0.02 * len(before)


def test_the_set_of_a_key_never_changes() -> None:
    sizes = [[1, 1]] * 7
    # By `sha256sum` of the names, and of the keys.
    sets = set_of_keys(sizes, by="speaker")
    assert {(speaker_of(key), name) for key, name in sets.items() if name != "train"} == {
        ("00000006", "test"),
        ("00000003", "val"),
    }
    assert choose(sizes, by="speaker", folds=3, fold=1).tested == ("00000003", "00000006")
    sets = set_of_keys(sizes, by="recording", folds=3, fold=1)
    assert {key[:10] for key in sets if sets[key] == "test"} == {
        *("a/00000005", "a/00000006"),
        *("b/00000003", "b/00000005"),
    }


@pytest.mark.parametrize(
    ("sizes", "choice", "expected"),
    [
        # Each class is divided.
        (
            [[4, 10]] * 10,
            {"by": "recording", "val": 0.2, "test": 0.1},
            [[28, 70], [8, 20], [4, 10]],
        ),
        # Few speakers with equally many recordings.
        ([[50, 50]] * 6, {"by": "speaker"}, [[200, 200], [50, 50], [50, 50]]),
        # Few speakers say a class.
        ([[4, 0]] * 50 + [[4, 1]] * 3, {"by": "speaker"}, [[148, 1], [32, 1], [32, 1]]),
        ([[4, 0]] * 12 + [[4, 1]] * 3 + [[40, 1]], {"by": "speaker"}, [[68, 2], [16, 1], [16, 1]]),
        # A speaker with most of the recordings is in the training set.
        ([[1, 1]] * 40 + [[100, 100]], {"by": "speaker"}, [[100, 100], [19, 19], [21, 21]]),
    ],
)
def test_sets_have_their_shares(
    sizes: list[list[int]], choice: dict[str, Any], expected: list[list[int]]
) -> None:
    assert class_counts(sizes, **choice) == expected


def test_shares_and_folds_are_met_if_speakers_have_few_recordings() -> None:
    sizes = np.random.default_rng(0).integers(0, 5, (300, 2)).tolist()
    total = np.sum(sizes, 0)
    counts = class_counts(sizes, by="speaker", val=0.1, test=0.2)
    assert np.array(counts) == pytest.approx(np.outer([0.7, 0.1, 0.2], total), abs=2)
    for by in ("speaker", "recording"):
        folds = [class_counts(sizes, by=by, folds=10, fold=fold)[2] for fold in range(1, 11)]
        assert np.array(folds) == pytest.approx(np.tile(total / 10, (10, 1)), abs=4)
    # Also if no class can be divided equally.
    few = [class_counts([[1, 1]] * 6, by="recording", folds=5, fold=i)[2] for i in range(1, 6)]
    assert Counter(map(sum, few)) == {2: 3, 3: 2}


@pytest.mark.parametrize(("val", "test"), [(0.45, 0.45), (0.9, 0.05), (0.05, 0.9)])
@pytest.mark.parametrize("count", range(3, 8))
def test_large_shares_leave_something_to_learn_from(val: float, test: float, count: int) -> None:
    assert np.all(class_counts([[1, 1]] * count, by="recording", val=val, test=test))


@pytest.mark.parametrize(
    ("val", "test"), [(0.0, 0.1), (0.1, 0.0), (0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.1)]
)
def test_shares_that_leave_nothing_are_rejected(val: float, test: float) -> None:
    with pytest.raises(ValueError, match="must be positive and sum below 1"):
        SplitChoice(val=val, test=test)


@pytest.mark.parametrize(
    "sizes", [[[3, 3]] * n for n in (3, 5, 11)] + [[[20, 24], [25, 25], [30, 30]]]
)
def test_each_speaker_validates_one_of_the_folds_that_leave_one_out(sizes: list[list[int]]) -> None:
    # A share of less than 1.5 speakers, so that one of them is nearest to it.
    choice = {"leave_one_out": "speaker", "val": 1 / len(sizes)}
    folds = [set_of_keys(sizes, **choice, fold=fold + 1) for fold in range(len(sizes))]
    validated = [{speaker_of(key) for key in sets if sets[key] == "val"} for sets in folds]
    assert sorted(map(len, validated)) == [1] * len(sizes)
    assert set.union(*validated) == set(map(speaker_of, folds[0]))


@pytest.mark.parametrize("n_folds", [2, 3, 5, 8])
def test_few_recordings_validate_two_folds(n_folds: int) -> None:
    choice = {"by": "recording", "val": 0.1, "folds": n_folds}
    folds = [choose([[3, 4]] * 20, **choice, fold=fold) for fold in range(1, n_folds + 1)]
    counts = Counter(np.concatenate([fold.indices.val for fold in folds]).tolist())
    assert sum(count > 1 for count in counts.values()) < 0.1 * len(counts)


OFFICIAL: list[Any] = ["train"] * 12 + ["val"] * 2 + ["test"] * 2


def test_an_official_split_is_used_unchanged() -> None:
    keys, labels = spoken([[1, 1]] * 8)
    chosen = choose_split(keys, labels, CLASSES, OFFICIAL)
    assert [part.tolist() for part in chosen.indices] == [[*range(12)], [12, 13], [14, 15]]
    assert chosen.by == "folder"
    assert chosen.groups == ()
    assert chosen.line == "split by folder: 12 training, 2 validation and 2 test recordings"
    table = SplitChoice("file", note="3 recordings left out")
    chosen = choose_split(keys, labels, CLASSES, OFFICIAL, choice=table)
    assert chosen.by == "file"
    assert chosen.line.endswith("recordings; 3 recordings left out")
    # It is mixed only if that is asked for.
    for choice in (SplitChoice("speaker", folds=2, fold=1), SplitChoice("recording")):
        assert choose_split(keys, labels, CLASSES, OFFICIAL, choice=choice).by == choice.by


@pytest.mark.parametrize(
    ("parts", "name", "words"),
    [
        (["train"] * 14 + ["test"] * 2, "{:08x}_nohash_{}", "validation set is split off .* by sp"),
        (["train"] * 14 + ["val"] * 2, "{:08x}_nohash_{}", "the test set is split off .* speaker"),
        (
            ["train"] * 16,
            "{}-{}",
            "not by speaker: .*validation and test set is split off the tr.* by recording",
        ),
    ],
)
def test_sets_that_an_official_split_lacks_are_split_off_its_training_set(
    parts: list[Any], name: str, words: str
) -> None:
    keys = [f"{c}/{name.format(s, n)}.wav" for s in range(8) for n, c in enumerate(CLASSES)]
    chosen = choose_split(keys, np.arange(16) % 2, CLASSES, parts)
    assert sorted(np.concatenate([*chosen.indices])) == list(range(16))
    for part, indices in chosen.indices.as_dict().items():
        assert len(indices)
        assert part == "train" or {i for i in range(16) if parts[i] == part} <= set(indices)
    assert re.search(words, chosen.line)


@pytest.mark.parametrize(
    ("large", "small", "of_large", "of_small"),
    [
        # Each large class gives its share; the small ones give one each until theirs is met.
        ([20, 4], [3, 3, 2, 2, 1, 1], [3, 1], 2),
        ([20], [1], [3], 0),
        # One recording is the least that a validation set can have.
        ([], [2, 1, 1], [], 1),
        ([20, 4], [], [3, 1], 0),
        ([4], [], [3], 0),  # with a share of 0.9: one is left to learn from
    ],
)
def test_a_class_with_few_recordings_may_keep_them_to_learn_from(
    large: list[int], small: list[int], of_large: list[int], of_small: int
) -> None:
    counts = np.array([*large, *small])
    classes = [str(label) for label in range(len(counts))]
    labels = np.repeat(np.arange(len(counts)), counts + 1)
    # The last recording of each class is tested.
    parts: list[Any] = [part for n in counts for part in ["train"] * n + ["test"]]
    keys = [str(index) for index in range(len(labels))]
    choice = SplitChoice(val=0.9, test=0.05) if large == [4] else SplitChoice()
    chosen = choose_split(keys, labels, classes, parts, choice=choice)
    validated = np.bincount(labels[chosen.indices.val], minlength=len(counts))
    assert validated[: len(large)].tolist() == of_large
    assert validated[len(large) :].sum() == of_small
    assert (validated < counts + (counts == 0)).all()
    assert ("recording, without small classes" in chosen.line) == bool(small)


def test_the_best_split_is_taken_and_the_line_says_why_no_better_one() -> None:
    keys, labels = spoken([[1, 1]] * 6)
    by_group = choose_split(keys, labels, CLASSES, groups=[f"p{i // 2}" for i in range(12)])
    assert by_group.by == "group"
    assert by_group.line == (
        "split by group: 8 training, 2 validation and 2 test recordings of 6 groups; "
        "not by folder: there is no official split"
    )
    # Each group says one class only.
    by_speaker = choose_split(keys, labels, CLASSES, groups=[f"p{i % 4}" for i in range(12)])
    assert by_speaker.by == "speaker"
    assert "not by group: class 'a' has 2 groups, too few for 3 sets" in by_speaker.line
    incomplete = choose_split(keys, labels, CLASSES, groups=["p"] * 11 + [""])
    assert "not by group: 1 recordings have no group, such as 'b/00000005_" in incomplete.line
    plain = [f"{key[0]}/{i}.wav" for i, key in enumerate(keys)]
    by_recording = choose_split(plain, labels, CLASSES)
    assert (by_recording.by, by_recording.groups) == ("recording", ())
    assert by_recording.line.startswith(
        "split by recording: 8 training, 2 validation and 2 test recordings; not by folder: there "
        "is no official split; not by speaker: 12 recordings have no speaker, such as 'a/0.wav' "
        "(set or correct --speaker-pattern, or name groups in a table)"
    )


def test_recordings_without_classes_are_split_too() -> None:
    keys, _ = spoken([[1, 1]] * 6)
    for choice in (SplitChoice(), SplitChoice("recording"), SplitChoice(folds=3, fold=3)):
        chosen = choose_split(keys, np.full(12, 7), (), choice=choice)
        assert all(len(part) for part in chosen.indices)
        assert sum(map(len, chosen.indices)) == 12
    with pytest.raises(ValueError, match=r"^The data set has 2 recordings, too few for 3 sets"):
        choose_split(["a", "b"], np.zeros(2, np.int64))


NAMELESS = ["a/1.wav", "a/2.wav", "a/3.wav", "b/1.wav", "b/2.wav", "b/3.wav"]
NO_PART: list[Any] = []


@pytest.mark.parametrize(
    ("parts", "choice", "words"),
    [
        (NO_PART, {"by": "folder"}, "^data.split: 6 of 6 recordings are in none of train, val and"),
        (NO_PART, {"by": "speaker"}, "^6 recordings have no speaker, such as 'a/1.wav': set or co"),
        (
            NO_PART,
            {"by": "group"},
            r"^6 recordings have no group, such as .*name groups in a table",
        ),
        (NO_PART, {"folds": 3}, r"^data.fold: got fold None of 3, expected"),
        (NO_PART, {"folds": 3, "fold": 4}, "^data.fold: got fold 4 of 3, expected"),
        (NO_PART, {"folds": 1, "fold": 1}, "^Class 'a' has 0 recordings without fold 1, expected"),
        (NO_PART, {"folds": 4, "fold": 1}, "Class 'a' has 3 recordings, too few for 4 sets with"),
        (NO_PART, {"folds": 2, "fold": 1}, "Class 'b' has 1 recordings without fold 1, expected"),
        (NO_PART, {"by": "folder", "folds": 3, "fold": 1}, "^data.folds: folds would mix an offic"),
        (NO_PART, {"leave_one_out": "group", "fold": 1}, "6 recordings have no group"),
        (
            NO_PART,
            {"by": "recording", "leave_one_out": "speaker", "fold": 1},
            "options contradict each other, got .*'recording', leave_one_out 'speaker'",
        ),
        (
            NO_PART,
            {"by": "recording", "pattern": "(a)"},
            "contradict each other, got .*'recording'",
        ),
        (
            NO_PART,
            {"leave_one_out": "group", "fold": 1, "pattern": "(a)"},
            r"contradict each other, got .*'group' and speaker_pattern '\(a\)'",
        ),
        (
            NO_PART,
            {"pattern": "(a)/"},
            r"3 recordings have no speaker, such as 'b/1.wav': set or correct --speaker-p",
        ),
        (NO_PART, {"pattern": "(./)"}, "Class 'a' has 1 speaker, too few for 3 sets with every"),
        (
            NO_PART,
            {"leave_one_out": "speaker", "fold": 2, "pattern": "([ab])/"},
            "^Class 'a' has 0 recordings without fold 1, expected at least 2, to train and",
        ),
        (
            NO_PART,
            {"leave_one_out": "speaker", "fold": 4, "pattern": "([123])"},
            "^data.fold: got fold 4 of 3",
        ),
        (["train"] * 5 + [""], {}, "^data.split: 1 of 6 recordings are in none of .*'b/3.wav'"),
        (
            ["train"] * 3 + ["test", "val", "val"],
            {},
            "^data.split: Class 'b' has no recording in the training set of the official split",
        ),
        (["train"] * 6, {"folds": 3, "fold": 1}, "^data.folds: folds would mix an official split"),
        (["train", *["test"] * 2] * 2, {}, "^Class 'a' has 1 recording, too few for 2 sets"),
    ],
)
def test_a_split_that_is_not_possible_is_an_error_with_the_reason(
    parts: list[Any], choice: dict[str, Any], words: str
) -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match=words) as error:
        choose_split(NAMELESS, labels, CLASSES, parts, choice=SplitChoice(**choice))
    assert "\n" not in str(error.value)


def test_a_class_that_few_speakers_say_is_in_each_fold() -> None:
    sizes = [[4, 0]] * 20 + [[4, 1]] * 4 + [[60, 0]]
    for fold in range(1, 5):
        train, val, test = class_counts(sizes, by="speaker", folds=4, fold=fold)
        assert test[1] == 1
        assert sum(train) > 2 * sum(val)
    for by, noun in (("speaker", "speakers"), ("auto", "recordings")):
        with pytest.raises(ValueError, match=f"Class 'b' has 4 {noun}, too few for 5 sets with ev"):
            choose(sizes, by=by, folds=5, fold=1)
