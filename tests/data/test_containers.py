import struct
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.conftest import tone
from data.damage import bounded_memory, damaged
from nwavesdk.data.containers import container_of
from nwavesdk.data.decoding import SUFFIXES, decode
from nwavesdk.data.reading import RecordingError

soundfile = pytest.importorskip("soundfile")

RATE = 16_000
# The headers of Vorbis take some 4 kB.
NAMES = {"FLAC": Path("a.flac"), "VORBIS": Path("a.ogg"), "OPUS": Path("a.opus")}


def sound(encoding: str, samples: np.ndarray | None = None, subtype: str | None = None) -> bytes:
    file = BytesIO()
    samples = tone(440.0, 0.2, RATE) if samples is None else samples
    how = {"format": "FLAC"} if encoding == "FLAC" else {"format": "OGG", "subtype": encoding}
    soundfile.write(file, samples, RATE, **({**how, "subtype": subtype} if subtype else how))
    return file.getvalue()


FILES = {encoding: sound(encoding) for encoding in NAMES}


def page_starts(data: bytes) -> list[int]:
    """Where the pages of an Ogg file begin, by their mark alone."""
    starts = []
    start = data.find(b"OggS")
    while start >= 0:
        starts.append(start)
        start = data.find(b"OggS", start + 1)
    return starts


def _crc_of_byte(byte: int) -> int:
    register = byte << 24
    for _ in range(8):
        top = register >> 31
        register = register << 1 & 0xFFFF_FFFF ^ 0x04C1_1DB7 * top
    return register


CRC_OF_BYTE = [_crc_of_byte(byte) for byte in range(256)]


def crc_of_page(page: bytes) -> int:
    """The checksum of a page as RFC 3533 describes it, byte by byte."""
    register = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        register = register << 8 & 0xFFFF_FFFF ^ CRC_OF_BYTE[register >> 24 ^ byte]
    return register


def repaired(data: bytes) -> bytes:
    """An Ogg file with right checksums."""
    starts = [*page_starts(data), len(data)]
    pages = [data[start:end] for start, end in pairwise(starts)]
    return b"".join(page[:22] + struct.pack("<I", crc_of_page(page)) + page[26:] for page in pages)


def flags(data: bytes, page: int, value: int) -> bytes:
    place = page_starts(data)[page] + 5
    return repaired(data[:place] + bytes([value]) + data[place + 1 :])


def with_int(data: bytes, place: int, value: int, size: int) -> bytes:
    return data[:place] + value.to_bytes(size) + data[place + size :]


def test_the_suffixes_are_those_of_wav_flac_and_ogg() -> None:
    assert frozenset({".wav", ".flac", ".ogg", ".oga", ".opus"}) == SUFFIXES
    assert container_of(Path("A.FLAC")).name == "a FLAC file"
    assert container_of(Path("a")).name == "a wav"


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_S8", 8), ("PCM_16", 16), ("PCM_24", 24)])
def test_flac_gives_the_encoded_integers(subtype: str, bits: int) -> None:
    draw = np.random.default_rng(0)
    left, right = draw.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 500))
    encoded = (np.stack([left, right], 1) << (32 - bits)).astype(np.int32)
    samples, rate = decode(NAMES["FLAC"], sound("FLAC", encoded, subtype))
    assert (samples.dtype, rate) == (np.float32, RATE)
    np.testing.assert_allclose(samples, (left + right) / 2**bits, rtol=0, atol=2**-24)


@pytest.mark.parametrize("encoding", ["VORBIS", "OPUS"])
def test_ogg_gives_the_sound(encoding: str) -> None:
    samples, rate = decode(NAMES[encoding], FILES[encoding])
    assert (samples.dtype, rate, len(samples)) == (np.float32, RATE, 3200)
    assert np.corrcoef(samples, tone(440.0, 0.2, RATE))[0, 1] > 0.95


@pytest.mark.parametrize("encoding", NAMES)
def test_a_cut_file_is_rejected_wherever_it_is_cut(encoding: str) -> None:
    data = FILES[encoding]
    places = {*range(0, len(data), 151), *range(60), *page_starts(data), len(data) - 1}
    for place in sorted(places):
        with pytest.raises(RecordingError, match=r"a\.\w+ (is|cannot|has) ") as error:
            decode(NAMES[encoding], data[:place])
        assert str(error.value).isprintable()


def test_flac_cut_between_two_frames_is_rejected() -> None:
    # Frames of 4096 samples begin with 0xFFF8, the code of the format, and their number.
    data = sound("FLAC", np.random.default_rng(0).normal(size=3 * 4096) / 10)
    (second,) = [
        place
        for place in range(len(data))
        if data[place : place + 2] == b"\xff\xf8" and data[place + 4] == 1
    ]
    with pytest.raises(RecordingError, match=r"is cut short"):
        decode(NAMES["FLAC"], data[:second])


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("a.flac", b"", r"a\.flac is empty \(0 bytes\)"),
        ("a.flac", FILES["OPUS"], "is an Ogg file, expected a FLAC file: convert or rename it"),
        ("a.ogg", FILES["FLAC"], "is a FLAC file, expected an Ogg file: convert or rename it"),
        ("a.ogg", b"RIFF\0\0\0\0WAVEfmt ", "is a wav, expected an Ogg file: convert or rename it"),
        ("a.wav", FILES["FLAC"], "is a FLAC file, expected a wav: convert or rename it"),
        ("a.flac", b"ID3\4" + bytes(9), "is an MP3 file, expected a FLAC file: convert or remove"),
        ("a.oga", b"\0\0\0 ftypM4A ", "is an MP4 file, expected an Ogg file: convert or remove it"),
        ("a.opus", b"FORM\0\0\0\0AIFF", "is an AIFF file, expected an Ogg file: convert or remove"),
        ("a.flac", b"no sound", r"is not sound \(it begins b'no sound'\), expected a FLAC file"),
    ],
)
def test_another_format_than_the_name_stands_for_is_rejected(
    path: str, data: bytes, message: str
) -> None:
    with pytest.raises(RecordingError, match=message):
        decode(Path(path), data)


# Bits 4 to 39 of bytes 21 to 25 are the number of samples; the byte before ends the sample rate.
FLAC_FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "md5": (lambda d: with_int(d, 30, d[30] ^ 1, 1), r"damaged \(the MD5 of its samples is wrong"),
    "length": (lambda d: with_int(d, 22, 0, 4), r"does not record its length \(it was encoded to"),
    "shorter": (lambda d: with_int(d, 22, 3199, 4), "is damaged"),
    "longer": (lambda d: with_int(d, 22, 3201, 4), "is (cut short|damaged)"),
    "hours": (
        lambda d: with_int(d, 22, 2**32 - 1, 4),
        r"lasts 268435 s, expected at most 600 s",
    ),
    "rate": (lambda d: with_int(d, 18, 0xFFFF_F0, 3), "has a sample rate of 1048575 Hz, expected"),
    "no STREAMINFO": (lambda d: with_int(d, 4, 4, 1), "damaged header"),
    "long STREAMINFO": (lambda d: with_int(d, 5, 2**24 - 1, 3), "damaged header"),
    "huge block": (lambda d: with_int(d, 43, 2**24 - 1, 3), "cut short .it ends before its sound"),
    "frame": (lambda d: with_int(d, len(d) - 30, d[-30] ^ 1, 1), "is cut short or damaged"),
}


@pytest.mark.parametrize("name", FLAC_FAULTS)
def test_a_damaged_flac_is_rejected(name: str) -> None:
    damage, message = FLAC_FAULTS[name]
    with bounded_memory(2**26), pytest.raises(RecordingError, match=message):
        decode(NAMES["FLAC"], damage(FILES["FLAC"]))


def test_a_flac_without_md5_is_read() -> None:
    data = with_int(FILES["FLAC"], 26, 0, 16)
    assert len(decode(NAMES["FLAC"], data)[0]) == 3200


def without_page(data: bytes, page: int) -> bytes:
    starts = [*page_starts(data), len(data)]
    return data[: starts[page]] + data[starts[page + 1] :]


def in_another_stream(data: bytes) -> bytes:
    # The number of the stream is in bytes 14 to 17 of a page.
    place = page_starts(data)[-1] + 14
    return repaired(with_int(data, place, 7, 4))


OGG_FAULTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "bit": (
        lambda d: with_int(d, len(d) - 9, d[-9] ^ 1, 1),
        r"\(the checksum of page \d is wrong\)",
    ),
    "last page": (lambda d: d[: page_starts(d)[-1]], r"cut short \(its last page is missing\)"),
    "inner page": (lambda d: without_page(d, 1), r"damaged \(pages before page 1 are missing\)"),
    "no end": (lambda d: flags(d, -1, 0), r"is cut short \(its last page is missing\)"),
    "early end": (lambda d: flags(d, 1, 4), "has something after its last page"),
    "twice": (lambda d: d + d, "has something after its last page; expected one stream"),
    "text": (lambda d: d + b"TAG", "has something after its last page"),
    "streams": (in_another_stream, "holds several streams, expected one of sound"),
    "begins twice": (lambda d: flags(d, 1, 2), "pages before page 1 are missing"),
    "version": (lambda d: with_int(d, 4, 1, 1), r"damaged \(page 0 does not begin with OggS\)"),
    "cut in a header": (lambda d: d[: page_starts(d)[-1] + 20], r"is cut short \(in page \d\)"),
    "cut in sizes": (lambda d: d[: page_starts(d)[-1] + 27], r"is cut short \(in page \d\)"),
}


@pytest.mark.parametrize("encoding", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("name", OGG_FAULTS)
def test_a_damaged_ogg_is_rejected(name: str, encoding: str) -> None:
    damage, message = OGG_FAULTS[name]
    with pytest.raises(RecordingError, match=message):
        decode(NAMES[encoding], damage(FILES[encoding]))


def test_an_ogg_that_claims_hours_is_rejected_before_it_is_decoded() -> None:
    # Bytes 6 to 13 of a page are the number of samples up to its end. A sound begins where its
    # first page does, so there must be two.
    data = sound("VORBIS", np.random.default_rng(0).normal(size=RATE) / 10)
    place = page_starts(data)[-1] + 6
    claim = (10**15).to_bytes(8, "little")
    long = repaired(data[:place] + claim + data[place + 8 :])
    with bounded_memory(2**26), pytest.raises(RecordingError, match="lasts .* s, expected at most"):
        decode(NAMES["VORBIS"], long)


def test_another_encoding_in_an_ogg_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    header = SimpleNamespace(format="OGG", subtype="SPEEX", samplerate=RATE, frames=1, channels=1)
    monkeypatch.setattr(soundfile, "info", lambda _: header)
    with pytest.raises(RecordingError, match="the encoding SPEEX, expected OPUS or VORBIS: conv"):
        decode(NAMES["OPUS"], FILES["OPUS"])


def test_an_ogg_with_too_many_pages_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.data.containers.MOST_PAGES", 2)
    with pytest.raises(RecordingError, match="has more than 2 pages"):
        decode(NAMES["VORBIS"], FILES["VORBIS"])


@pytest.mark.parametrize("encoding", NAMES)
def test_long_sound_is_rejected_before_it_is_decoded(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundfile, "read", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(RecordingError, match=r"lasts 0\.2 s, expected at most 0\.1 s: cut it"):
        decode(NAMES[encoding], FILES[encoding], 0.1)


@settings(deadline=None, max_examples=60, database=None)
@given(st.data())
@pytest.mark.parametrize("encoding", NAMES)
def test_any_damage_is_an_error_of_one_line_or_another_sound(encoding: str, data: Any) -> None:
    content = data.draw(damaged(FILES[encoding]))
    if encoding != "FLAC" and data.draw(st.booleans()):
        content = repaired(content)
    with bounded_memory(2**26):
        try:
            samples, _ = decode(NAMES[encoding], content, 10.0)
        except RecordingError as error:
            message = str(error)
        else:
            message = ""
            assert np.isfinite(samples).all()
    assert message.isprintable()
