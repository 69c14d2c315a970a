"""Splits by recording, and of whole sets of recordings."""

import numpy as np
import pytest

from nwavesdk.data import (
    Recordings,
    Split,
    split_indices,
    split_recordings,
)


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
    for by in ("speaker", "recording", "auto"):
        with pytest.raises(ValueError, match="must be positive and sum below 1"):
            split_indices(names, labels, "ab", by, val, test)


def test_recordings_are_split_by_speaker_if_file_names_show_enough_of_them() -> None:
    keys = [f"{label}/{speaker:08x}_nohash_0.wav" for speaker in range(8) for label in "ab"]
    frames = tuple(np.full((1, 1), index, np.float32) for index in range(len(keys)))
    whole = Recordings(frames, np.arange(len(keys)) % 2, ("a", "b"), tuple(keys), "")
    split, by = split_recordings(whole)
    assert by == "speaker"
    indices, speakers = split_indices(whole.keys, whole.labels, whole.classes, "speaker")
    assert speakers == tuple(f"{speaker:08x}" for speaker in range(8) for _ in "ab")
    for part, expected in zip(split, indices, strict=True):
        assert [int(frames[0, 0]) for frames in part.frames] == expected.tolist()
        assert part.keys == tuple(keys[i] for i in expected)
    few = whole.take(np.arange(4))
    _, by = split_recordings(few.take(np.array([0, 1, 0, 1, 0, 1])))
    assert by == "recording"
    with pytest.raises(ValueError, match="too few"):
        split_recordings(few, "speaker")
