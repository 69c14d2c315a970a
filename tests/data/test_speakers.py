"""Speakers from file names of known data sets, and by a pattern of the user."""

import time

import pytest

from nwavesdk.data import speakers
from nwavesdk.data.speakers import check_speaker_pattern, match_speakers, speakers_of


@pytest.mark.parametrize(
    ("key", "speaker"),
    [
        ("yes/0a7c2a8d_nohash_0.wav", "0a7c2a8d"),
        ("yes/FF_nohash_12.WAV", "FF"),
        ("yes/0a_nohash_0.ogg", "0a"),
        ("3/3_jackson_4.wav", "jackson"),
        ("deep/er/0_theo_44.flac", "theo"),
        ("test/right/00000026_NO_10.flac", "00000026"),
        ("right/00000026_NO_10.wav", "00000026"),
    ],
)
def test_file_names_of_three_data_sets_show_the_speaker(key: str, speaker: str) -> None:
    assert speakers_of([key]) == (speaker,)


@pytest.mark.parametrize(
    "name",
    [
        "0.wav",
        "xyz_nohash_0.wav",
        "0a_nohash_.wav",
        "0a_nohash_1.wav.wav",
        "0a_nohash_1.mp3",
        "33_a_1.wav",
        "3__1.wav",
        "3_a_b_1.wav",
        "00000026_no_1.wav",
        "ann_NO_1.wav",
    ],
)
def test_other_file_names_are_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="do not show who speaks"):
        speakers_of([f"yes/{name}"])


def test_recordings_in_one_file_have_no_names_to_change() -> None:
    with pytest.raises(ValueError, match=r"got 'set.npz/0'.*give groups in an array `group`"):
        speakers_of(["set.npz/0", "set.npz/1"])


def test_the_first_name_that_does_not_follow_the_most_common_pattern_is_reported() -> None:
    with pytest.raises(
        ValueError, match=r"got 'b/1_ann_1.wav', expected all like <speaker>_nohash_<n> or all"
    ):
        speakers_of(["a/0a_nohash_1.wav", "b/1_ann_1.wav"])
    with pytest.raises(ValueError, match=r"got 'a/0a_nohash_1.wav'.*--speaker-pattern"):
        speakers_of(["a/0a_nohash_1.wav", "b/1_ann_1.wav", "b/1_ann_2.wav"])


def test_a_pattern_finds_its_first_group_or_the_one_named_speaker() -> None:
    keys = ["yes/mic2-ann.wav", "no/mic1-bob.wav"]
    assert match_speakers(keys, r"-(\w+)\.") == ("ann", "bob")
    assert match_speakers(keys, r"mic(\d)-(?P<speaker>\w+)") == ("ann", "bob")
    assert match_speakers(keys, r"mic(\d)-(\w+)") == ("2", "1")


def test_names_with_line_ends_and_other_letters_are_searched() -> None:
    assert match_speakers(["a/José\n-1", "a/王-2"], r"/(\w+)") == ("José", "王")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", r"is not a regular expression of Python .*got '\('"),
        (r"\w+", "has no group: .*add them"),
        ("(a)" * 70, "has 210 letters, expected at most 200"),
        ("(a{9999999999})", "is not a regular expression"),
    ],
)
def test_what_is_not_a_pattern_is_rejected(pattern: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_speaker_pattern(pattern)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["a/ann-1", "a/2"], "finds no name in 'a/2': .*correct it"),
        (["a/ann-1", "a/-1"], "finds no name in 'a/-1'"),
        (["a/ann-1", "b" * 1001], "more than 1000 letters: got 1001 letters"),
    ],
)
def test_a_pattern_finds_a_name_in_each_key(keys: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        match_speakers(keys, r"/(\w*)-")


def test_a_pattern_whose_time_explodes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speakers, "MAX_SEARCH_SECONDS", 0.3)
    start = time.monotonic()
    with pytest.raises(ValueError, match=r"cannot be searched in 0\.3 s.*\(a\+\)\+"):
        match_speakers(["a" * 60 + "!"], "(a+)+$")
    assert time.monotonic() - start < 10
