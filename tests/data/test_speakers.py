"""Speakers from file names of known data sets, and by a pattern of the user."""

import pytest

from nwavesdk.data.speakers import match_speakers, speakers_of


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
        ("yes/0.wav", ""),
        ("yes/xyz_nohash_0.wav", ""),
        ("yes/0a_nohash_.wav", ""),
        ("yes/0a_nohash_1.wav.wav", ""),
        ("yes/0a_nohash_1.mp3", ""),
        ("yes/33_a_1.wav", ""),
        ("yes/3__1.wav", ""),
        ("yes/3_a_b_1.wav", ""),
        ("yes/00000026_no_1.wav", ""),
        ("yes/ann_NO_1.wav", ""),
        ("set.npz/0", ""),
    ],
)
def test_file_names_of_three_data_sets_show_the_speaker(key: str, speaker: str) -> None:
    assert speakers_of([key]) == (speaker,)


def test_names_follow_the_most_common_pattern_or_the_first_of_two() -> None:
    keys = ["a/0a_nohash_1.wav", "b/1_ann_1.wav", "b/1_ann_2.wav"]
    assert speakers_of(keys) == ("", "ann", "ann")
    assert speakers_of(keys[:2]) == ("0a", "")


def test_a_pattern_finds_its_first_group_or_the_one_named_speaker() -> None:
    keys = ["yes/mic2-ann.wav", "no/mic1-bob.wav"]
    assert match_speakers(keys, r"-(\w+)\.") == ("ann", "bob")
    assert match_speakers(keys, r"mic(\d)-(?P<speaker>\w+)") == ("ann", "bob")
    assert match_speakers(keys, r"mic(\d)-(\w+)") == ("2", "1")
    # Names have all letters; an empty one is not known.
    keys = ["a/José\n-1", "a/王-2", "a/-3", "a/4"]
    assert match_speakers(keys, r"/(\w*)\s?-") == ("José", "王", "", "")


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", r"missing \)"),
        (r"\w+", "no such group"),
        ("(a{9999999999})", "the repetition number is too large"),
    ],
)
def test_a_pattern_that_cannot_be_searched_is_rejected(pattern: str, reason: str) -> None:
    words = rf"^data\.speaker_pattern: .* cannot be searched \({reason}.*\), .* a group for the "
    with pytest.raises(ValueError, match=words):
        match_speakers(["a" * 60 + "!"], pattern)
