import numpy as np
import pytest

from nwavesdk.data import Recordings, stratified_split


def recordings(per_class: dict[str, int], order: int | None = None) -> Recordings:
    labels = np.repeat(np.arange(len(per_class)), list(per_class.values()))
    keys = [f"{list(per_class)[label]}/{index}.wav" for index, label in enumerate(labels)]
    shuffle = (
        np.arange(len(keys))
        if order is None
        else np.random.default_rng(order).permutation(len(keys))
    )
    return Recordings(
        frames=tuple(np.full((2, 3), index, np.float32) for index in shuffle),
        labels=labels[shuffle].astype(np.int64),
        classes=tuple(per_class),
        keys=tuple(keys[index] for index in shuffle),
        fingerprint="",
    )


def test_parts_are_disjoint_complete_and_stratified() -> None:
    whole = recordings({"a": 40, "b": 100})
    split = stratified_split(whole, val=0.2, test=0.1)
    keys = [set(part.keys) for part in split]
    assert set.union(*keys) == set(whole.keys)
    assert sum(map(len, keys)) == len(whole)
    assert [np.bincount(part.labels).tolist() for part in split] == [[28, 70], [8, 20], [4, 10]]


def test_a_recording_keeps_its_frames_and_label() -> None:
    whole = recordings({"a": 10, "b": 10})
    home = {
        key: (frames[0, 0], label)
        for key, frames, label in zip(whole.keys, whole.frames, whole.labels, strict=True)
    }
    for part in stratified_split(whole):
        for key, frames, label in zip(part.keys, part.frames, part.labels, strict=True):
            assert (frames[0, 0], label) == home[key]


def test_order_of_the_source_and_global_random_state_change_nothing() -> None:
    np.random.seed(1)
    first = stratified_split(recordings({"a": 30, "b": 30}))
    np.random.seed(2)
    second = stratified_split(recordings({"a": 30, "b": 30}, order=7))
    assert [set(part.keys) for part in first] == [set(part.keys) for part in second]


def test_the_split_of_a_key_is_the_same_for_ever() -> None:
    split = stratified_split(recordings({"a": 10, "b": 10}))
    assert split.test.keys == ("a/3.wav", "a/9.wav", "b/10.wav", "b/14.wav")  # by `sha256sum`


def test_adding_one_recording_moves_few() -> None:
    before = stratified_split(recordings({"a": 100, "b": 100}))
    after = stratified_split(recordings({"a": 100, "b": 101}))
    assert len(set(before.test.keys) ^ set(after.test.keys)) <= 2


def test_small_classes_get_one_of_each_part_or_an_error() -> None:
    assert [len(part) for part in stratified_split(recordings({"a": 3, "b": 3}))] == [2, 2, 2]
    with pytest.raises(ValueError, match=r"Class 'b' has 2 recordings, expected at least 3"):
        stratified_split(recordings({"a": 3, "b": 2}))


@pytest.mark.parametrize(("val", "test"), [(0.0, 0.1), (0.1, 0.0), (0.5, 0.5), (-0.1, 0.2)])
def test_shares_must_leave_something_to_learn_from(val: float, test: float) -> None:
    with pytest.raises(ValueError, match="must be positive and sum below 1"):
        stratified_split(recordings({"a": 9, "b": 9}), val, test)


def test_limit_is_even_and_reproducible() -> None:
    whole = recordings({"a": 30, "b": 50})
    assert np.bincount(whole.limit(20).labels).tolist() == [10, 10]
    assert set(whole.limit(20).keys) == set(recordings({"a": 30, "b": 50}, order=3).limit(20).keys)
    with pytest.raises(
        ValueError, match=r"A limit of 5 recordings leaves 2 for each of 2 classes.*use 6 or more"
    ):
        whole.limit(5)


def test_recordings_that_disagree_are_refused() -> None:
    one = np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="2 recordings, 1 labels and 2 keys"):
        Recordings((one, one), np.zeros(1, np.int64), ("a",), ("1", "2"), "")
    with pytest.raises(ValueError, match=r"got widths \[2, 3\]"):
        Recordings(
            (one, np.zeros((1, 3), np.float32)), np.zeros(2, np.int64), ("a",), ("1", "2"), ""
        )
