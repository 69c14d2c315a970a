import pytest

from nwavesdk.data import speakers_of


@pytest.mark.parametrize(
    ("key", "speaker"),
    [
        ("yes/0a7c2a8d_nohash_0.wav", "0a7c2a8d"),
        ("yes/FF_nohash_12.WAV", "FF"),
        ("3/3_jackson_4.wav", "jackson"),
        ("deep/er/0_theo_44.wav", "theo"),
    ],
)
def test_the_two_patterns(key: str, speaker: str) -> None:
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
def test_other_names_tell_nobody(name: str) -> None:
    with pytest.raises(ValueError, match="do not tell who speaks"):
        speakers_of([f"yes/{name}"])


def test_all_files_follow_one_pattern_or_the_first_that_does_not_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"got 'b/1_ann_1.wav', expected all like <speaker>_nohash_<n>.wav or all"
    ):
        speakers_of(["a/0a_nohash_1.wav", "b/1_ann_1.wav"])
    with pytest.raises(ValueError, match="got 'a/0a_nohash_1.wav'"):
        speakers_of(["a/0a_nohash_1.wav", "b/1_ann_1.wav", "b/1_ann_2.wav"])
