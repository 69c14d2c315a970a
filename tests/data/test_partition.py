"""Laws of the parts, over made-up sets of speakers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.data import Partition, Recordings, by_recording, by_speaker, speaker_split

SIZES = st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=2), min_size=3, max_size=30)


def spoken(
    sizes: list[list[int]], order: int | None = None
) -> tuple[list[str], list[str], np.ndarray]:
    """Keys, speakers and labels: speaker s says class c `sizes[s][c]` times."""
    rows = [
        (f"{c}/{s:08x}_nohash_{n}.wav", f"{s:08x}", c)
        for s, counts in enumerate(sizes) for c, count in enumerate(counts) for n in range(count)
    ]  # fmt: skip
    if order is not None:
        rows = [rows[i] for i in np.random.default_rng(order).permutation(len(rows))]
    return (
        [row[0] for row in rows],
        [row[1] for row in rows],
        np.array([row[2] for row in rows], np.int64),
    )


def keys_of(partition: Partition, keys: list[str]) -> list[set[str]]:
    return [{keys[i] for i in part} for part in partition]


@settings(max_examples=150, deadline=None)
@given(SIZES)
def test_nobody_is_heard_in_two_parts_and_each_part_holds_every_class(
    sizes: list[list[int]],
) -> None:
    keys, speakers, labels = spoken(sizes)
    if not all(sum(counts[c] > 0 for counts in sizes) >= 3 for c in (0, 1)):
        if keys:
            with pytest.raises(ValueError, match="speakers are too few"):
                by_speaker(speakers, labels, "ab")
        return
    try:
        partition = by_speaker(speakers, labels, "ab")
    except ValueError:
        # Where three speakers at least say everything there is always a way.
        assert sum(min(counts) > 0 for counts in sizes) < 3
        return
    heard = [{speakers[i] for i in part} for part in partition]
    assert sum(map(len, heard)) == len(set(speakers))
    assert sorted(np.concatenate(partition)) == list(range(len(keys)))
    assert all(set(labels[part]) == {0, 1} for part in partition)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=2), min_size=3, max_size=30),
    st.integers(0, 99),
)
def test_the_order_of_files_changes_nothing(sizes: list[list[int]], order: int) -> None:
    parts = []
    for shuffle in (None, order):
        keys, speakers, labels = spoken(sizes, shuffle)
        parts.append(keys_of(by_speaker(speakers, labels, "ab"), keys))
    assert parts[0] == parts[1]


def test_shares_are_met_where_speakers_are_small() -> None:
    _, speakers, labels = spoken(np.random.default_rng(0).integers(0, 5, (300, 2)).tolist())
    train, val, test = by_speaker(speakers, labels, "ab", val=0.1, test=0.2)
    assert len(test) / len(labels) == pytest.approx(0.2, abs=0.01)
    assert len(val) / len(labels) == pytest.approx(0.1, abs=0.01)
    for part in (train, val, test):
        assert np.mean(labels[part]) == pytest.approx(np.mean(labels), abs=0.03)


def test_one_who_speaks_much_does_not_make_the_test_part() -> None:
    sizes = [[1, 1]] * 40 + [[100, 100]]
    for shift in range(6):
        _, speakers, labels = spoken([[0, 0]] * shift + sizes)
        train, val, test = by_speaker(speakers, labels, "ab")
        assert len(train) >= 200
        assert min(len(val), len(test)) > 20


def test_six_speakers_of_equal_size_part_four_one_one() -> None:
    _, speakers, labels = spoken([[50, 50]] * 6)
    assert [len(part) for part in by_speaker(speakers, labels, "ab")] == [400, 100, 100]


def test_three_speakers_get_a_part_each() -> None:
    _, speakers, labels = spoken([[5, 5]] * 3)
    assert [len(part) for part in by_speaker(speakers, labels, "ab")] == [10, 10, 10]


def test_a_class_few_can_say_is_in_each_part() -> None:
    sizes = [[4, 0]] * 50 + [[4, 1]] * 3
    _, speakers, labels = spoken(sizes)
    partition = by_speaker(speakers, labels, "ab")
    assert [np.sum(labels[part]) for part in partition] == [1, 1, 1]


def test_a_file_that_is_added_moves_few() -> None:
    sizes = np.random.default_rng(1).integers(1, 5, (200, 2)).tolist()
    keys, speakers, labels = spoken(sizes)
    before = keys_of(by_speaker(speakers, labels, "ab"), keys)
    moved = []
    for speaker in range(0, 200, 5):
        more = [[counts[0] + (index == speaker), counts[1]] for index, counts in enumerate(sizes)]
        keys_after, speakers, labels = spoken(more)
        after = keys_of(by_speaker(speakers, labels, "ab"), keys_after)
        moved.append(sum(len(a - b) for a, b in zip(before, after, strict=True)))
    assert np.mean(moved) < 0.02 * len(keys)
    assert max(moved) < 0.05 * len(keys)


def test_the_part_of_a_speaker_is_the_same_for_ever() -> None:
    _, speakers, labels = spoken([[1, 1]] * 7)
    partition = by_speaker(speakers, labels, "ab")
    assert [sorted({speakers[i] for i in part}) for part in partition[1:]] == [
        ["00000003"],
        ["00000006"],
    ]  # by `sha256sum`


def test_too_few_speakers_say_which_class_is_missing() -> None:
    _, speakers, labels = spoken([[3, 3], [3, 3], [3, 0]])
    with pytest.raises(
        ValueError, match=r"3 speakers are too few.*class 'b' is missing in one.*split by recording"
    ):
        by_speaker(speakers, labels, "ab")


@pytest.mark.parametrize(
    ("val", "test"), [(0.0, 0.1), (0.1, 0.0), (0.5, 0.5), (-0.1, 0.2), (float("nan"), 0.1)]
)
def test_shares_must_leave_something_to_learn_from(val: float, test: float) -> None:
    keys, speakers, labels = spoken([[5, 5]] * 5)
    for part in (
        lambda: by_speaker(speakers, labels, "ab", val, test),
        lambda: by_recording(keys, labels, "ab", val, test),
    ):
        with pytest.raises(ValueError, match="must be positive and sum below 1"):
            part()


def test_recordings_are_taken_by_speaker() -> None:
    keys, speakers, labels = spoken([[2, 1]] * 8)
    frames = tuple(np.full((1, 1), index, np.float32) for index in range(len(keys)))
    split = speaker_split(Recordings(frames, labels, ("a", "b"), tuple(keys), ""))
    for part, indices in zip(split, by_speaker(speakers, labels, "ab"), strict=True):
        assert [int(one[0, 0]) for one in part.frames] == indices.tolist()
        assert part.keys == tuple(keys[i] for i in indices)
