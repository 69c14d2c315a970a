"""Splits by recording and by speaker over made-up sets."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data import Recordings, Split, SplitChoice, choose_split


def recordings(per_class: dict[str, int], order: int | None = None) -> Recordings:
    labels = np.repeat(np.arange(len(per_class)), list(per_class.values()))
    keys = [f"{list(per_class)[label]}/{index}.wav" for index, label in enumerate(labels)]
    shuffle = np.arange(len(keys))
    if order is not None:
        shuffle = np.random.default_rng(order).permutation(shuffle)
    return Recordings(
        frames=tuple(np.full((2, 3), index, np.float32) for index in shuffle),
        labels=labels[shuffle].astype(np.int64),
        classes=tuple(per_class),
        keys=tuple(keys[index] for index in shuffle),
        fingerprint="",
    )


def split_recordings(
    whole: Recordings, by: Any = "auto", val: float = 0.15, test: float = 0.15
) -> tuple[Split[Recordings], str]:
    choice = SplitChoice(by, val, test)
    chosen = choose_split(whole.keys, whole.labels, whole.classes, choice=choice)
    return chosen.indices.map(whole.take), chosen.by


def stratified(whole: Recordings, val: float = 0.15, test: float = 0.15) -> Split[Recordings]:
    split, by = split_recordings(whole, "recording", val, test)
    assert by == "recording"
    return split


def test_sets_are_disjoint_complete_and_stratified() -> None:
    whole = recordings({"a": 40, "b": 100})
    split = stratified(whole, val=0.2, test=0.1)
    keys = [set(part.keys) for part in split]
    assert set.union(*keys) == set(whole.keys)
    assert sum(map(len, keys)) == len(whole)
    assert [np.bincount(part.labels).tolist() for part in split] == [[28, 70], [8, 20], [4, 10]]


def test_a_recording_keeps_its_frames_and_label() -> None:
    whole = recordings({"a": 10, "b": 10})
    expected = {
        key: (frames[0, 0], label)
        for key, frames, label in zip(whole.keys, whole.frames, whole.labels, strict=True)
    }
    for part in stratified(whole):
        for key, frames, label in zip(part.keys, part.frames, part.labels, strict=True):
            assert (frames[0, 0], label) == expected[key]


def test_a_split_does_not_depend_on_order_or_on_the_global_random_state() -> None:
    np.random.seed(1)
    first = stratified(recordings({"a": 30, "b": 30}))
    np.random.seed(2)
    second = stratified(recordings({"a": 30, "b": 30}, order=7))
    assert [set(part.keys) for part in first] == [set(part.keys) for part in second]


def test_the_set_of_a_key_never_changes() -> None:
    split = stratified(recordings({"a": 10, "b": 10}))
    # By `sha256sum` of the keys.
    assert split.test.keys == ("a/3.wav", "a/9.wav", "b/10.wav", "b/14.wav")


def test_a_recording_that_is_added_moves_few_others() -> None:
    before = stratified(recordings({"a": 100, "b": 100}))
    after = stratified(recordings({"a": 100, "b": 101}))
    assert len(set(before.test.keys) ^ set(after.test.keys)) <= 2


def test_a_class_of_three_is_in_each_set_and_one_of_two_is_rejected() -> None:
    assert list(stratified(recordings({"a": 3, "b": 3})).map(len)) == [2, 2, 2]
    with pytest.raises(ValueError, match=r"Class 'b' has 2 recordings, expected at least 3"):
        stratified(recordings({"a": 3, "b": 2}))


@pytest.mark.parametrize(
    ("val", "test"), [(0.0, 0.1), (0.1, 0.0), (0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.1)]
)
def test_shares_must_leave_something_to_learn_from(val: float, test: float) -> None:
    names = [f"{index % 5:08x}_nohash_{index}.wav" for index in range(20)]
    labels = np.arange(20) % 2
    bys: tuple[Any, ...] = ("speaker", "recording", "auto")
    for by in bys:
        with pytest.raises(ValueError, match="must be positive and sum below 1"):
            choose_split(names, labels, "ab", choice=SplitChoice(by, val, test))


def test_recordings_are_split_by_speaker_if_file_names_show_enough_of_them() -> None:
    keys = [f"{label}/{speaker:08x}_nohash_0.wav" for speaker in range(8) for label in "ab"]
    frames = tuple(np.full((1, 1), index, np.float32) for index in range(len(keys)))
    whole = Recordings(frames, np.arange(len(keys)) % 2, ("a", "b"), tuple(keys), "")
    split, by = split_recordings(whole)
    assert by == "speaker"
    choice = SplitChoice("speaker")
    chosen = choose_split(whole.keys, whole.labels, whole.classes, choice=choice)
    assert chosen.groups == tuple(f"{speaker:08x}" for speaker in range(8) for _ in "ab")
    for part, expected in zip(split, chosen.indices, strict=True):
        assert [int(frames[0, 0]) for frames in part.frames] == expected.tolist()
        assert part.keys == tuple(keys[i] for i in expected)
    few = whole.take(np.arange(4))
    _, by = split_recordings(few.take(np.array([0, 1, 0, 1, 0, 1])))
    assert by == "recording"
    with pytest.raises(ValueError, match="too few"):
        split_recordings(few, "speaker")


# The number of recordings of each of two classes, for each speaker.
SIZES = st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=3, max_size=30)


def spoken(
    sizes: list[list[int]], order: int | None = None
) -> tuple[list[str], list[str], np.ndarray]:
    """Keys, speakers and labels: speaker s has `sizes[s][c]` recordings of class c."""
    recordings = [
        (f"{c}/{s:08x}_nohash_{n}.wav", f"{s:08x}", c)
        for s, counts in enumerate(sizes)
        for c, count in enumerate(counts)
        for n in range(count)
    ]
    if order is not None:
        shuffled = np.random.default_rng(order).permutation(len(recordings))
        recordings = [recordings[i] for i in shuffled]
    keys = [key for key, _, _ in recordings]
    speakers = [speaker for _, speaker, _ in recordings]
    return keys, speakers, np.array([label for _, _, label in recordings], np.int64)


def split_by_speaker(
    keys: list[str], labels: np.ndarray, val: float = 0.15, test: float = 0.15
) -> Split[np.ndarray]:
    return choose_split(keys, labels, "ab", choice=SplitChoice("speaker", val, test)).indices


def key_sets(split: Split[np.ndarray], keys: list[str]) -> list[set[str]]:
    return [{keys[i] for i in indices} for indices in split]


@settings(max_examples=150, deadline=None)
@given(SIZES)
def test_no_speaker_is_in_two_sets_and_each_set_has_every_class(sizes: list[list[int]]) -> None:
    keys, speakers, labels = spoken(sizes)
    if not all(sum(counts[c] > 0 for counts in sizes) >= 3 for c in (0, 1)):
        if keys:
            with pytest.raises(ValueError, match="speakers are too few"):
                split_by_speaker(keys, labels)
        return
    try:
        split = split_by_speaker(keys, labels)
    except ValueError:
        # A split always exists if at least three speakers say everything.
        assert sum(min(counts) > 0 for counts in sizes) < 3
        return
    names = [{speakers[i] for i in indices} for indices in split]
    assert sum(map(len, names)) == len(set(speakers))
    assert sorted(np.concatenate([*split])) == list(range(len(keys)))
    assert all(set(labels[indices]) == {0, 1} for indices in split)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=2), min_size=3, max_size=30),
    st.integers(0, 99),
)
def test_the_split_does_not_depend_on_the_order_of_files(
    sizes: list[list[int]], order: int
) -> None:
    splits = []
    for shuffle in (None, order):
        keys, _, labels = spoken(sizes, shuffle)
        splits.append(key_sets(split_by_speaker(keys, labels), keys))
    assert splits[0] == splits[1]


def test_shares_are_met_if_speakers_have_few_recordings() -> None:
    keys, _, labels = spoken(np.random.default_rng(0).integers(0, 5, (300, 2)).tolist())
    split = split_by_speaker(keys, labels, val=0.1, test=0.2)
    assert len(split.test) / len(labels) == pytest.approx(0.2, abs=0.01)
    assert len(split.val) / len(labels) == pytest.approx(0.1, abs=0.01)
    for indices in split:
        assert np.mean(labels[indices]) == pytest.approx(np.mean(labels), abs=0.03)


def test_a_speaker_with_most_recordings_is_in_the_training_set() -> None:
    sizes = [[1, 1]] * 40 + [[100, 100]]
    for shift in range(6):
        keys, _, labels = spoken([[0, 0]] * shift + sizes)
        split = split_by_speaker(keys, labels)
        assert len(split.train) >= 200
        assert min(len(split.val), len(split.test)) > 20


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([[50, 50]] * 6, [400, 100, 100]), ([[5, 5]] * 3, [10, 10, 10])],
    ids=["six speakers", "three speakers"],
)
def test_few_speakers_with_equally_many_recordings(
    sizes: list[list[int]], expected: list[int]
) -> None:
    keys, _, labels = spoken(sizes)
    assert list(split_by_speaker(keys, labels).map(len)) == expected


def test_a_class_that_few_speakers_say_is_in_each_set() -> None:
    keys, _, labels = spoken([[4, 0]] * 50 + [[4, 1]] * 3)
    split = split_by_speaker(keys, labels)
    assert [np.sum(labels[indices]) for indices in split] == [1, 1, 1]


def test_the_speaker_whose_move_changes_the_shares_least_brings_a_missing_class() -> None:
    keys, _, labels = spoken([[4, 0]] * 12 + [[4, 1]] * 3 + [[40, 1]])
    split = split_by_speaker(keys, labels)
    assert [np.bincount(labels[indices]).tolist() for indices in split] == [
        [64, 2],
        [20, 1],
        [16, 1],
    ]


def test_a_file_that_is_added_moves_few_others() -> None:
    sizes = np.random.default_rng(1).integers(1, 5, (200, 2)).tolist()
    keys, _, labels = spoken(sizes)
    before = key_sets(split_by_speaker(keys, labels), keys)
    moved = []
    for speaker in range(0, 200, 5):
        more = [[counts[0] + (index == speaker), counts[1]] for index, counts in enumerate(sizes)]
        keys_after, _, labels = spoken(more)
        after = key_sets(split_by_speaker(keys_after, labels), keys_after)
        moved.append(sum(len(a - b) for a, b in zip(before, after, strict=True)))
    assert np.mean(moved) < 0.02 * len(keys)
    assert max(moved) < 0.05 * len(keys)


def test_the_set_of_a_speaker_never_changes() -> None:
    keys, speakers, labels = spoken([[1, 1]] * 7)
    split = split_by_speaker(keys, labels)
    # By `sha256sum` of the names.
    assert {speakers[i] for i in split.val} == {"00000003"}
    assert {speakers[i] for i in split.test} == {"00000006"}


def test_too_few_speakers_are_rejected_with_the_missing_class() -> None:
    keys, _, labels = spoken([[3, 3], [3, 3], [3, 0]])
    with pytest.raises(
        ValueError, match=r"3 speakers are too few.*class 'b' is missing in one.*split by recording"
    ):
        split_by_speaker(keys, labels)
