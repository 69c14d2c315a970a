"""Speakers from file names, and the properties of a split by speaker over made-up sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data import Split, speakers_of, split_indices

# The number of recordings of each of two classes, for each speaker.
SIZES = st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=3, max_size=30)


@pytest.mark.parametrize(
    ("key", "speaker"),
    [
        ("yes/0a7c2a8d_nohash_0.wav", "0a7c2a8d"),
        ("yes/FF_nohash_12.WAV", "FF"),
        ("3/3_jackson_4.wav", "jackson"),
        ("deep/er/0_theo_44.wav", "theo"),
    ],
)
def test_file_names_of_two_data_sets_show_the_speaker(key: str, speaker: str) -> None:
    assert speakers_of([key]) == (speaker,)


@pytest.mark.parametrize(
    "name",
    [
        "0.wav",
        "xyz_nohash_0.wav",
        "0a_nohash_.wav",
        "0a_nohash_1.wav.wav",
        "33_a_1.wav",
        "3__1.wav",
        "3_a_b_1.wav",
    ],
)
def test_other_file_names_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="do not show who speaks"):
        speakers_of([f"yes/{name}"])


def test_the_first_name_that_does_not_follow_the_most_common_pattern_is_reported() -> None:
    with pytest.raises(
        ValueError, match=r"got 'b/1_ann_1.wav', expected all like <speaker>_nohash_<n>.wav or all"
    ):
        speakers_of(["a/0a_nohash_1.wav", "b/1_ann_1.wav"])
    with pytest.raises(ValueError, match="got 'a/0a_nohash_1.wav'"):
        speakers_of(["a/0a_nohash_1.wav", "b/1_ann_1.wav", "b/1_ann_2.wav"])


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
    split, _ = split_indices(keys, labels, "ab", "speaker", val, test)
    return split


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
