import json
from pathlib import Path

import pytest

from nwavesdk.internal.files import FileError
from nwavesdk.internal.formats import (
    UNSEALED,
    check_seal,
    parse_json,
    parse_toml,
    read_sealed,
    read_tensors,
    write_sealed,
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b" \n", "Expecting value"),
        (b'{"a": 1', "Expecting"),
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is not"),
        (b'{"a": ' + b"9" * 5000 + b"}", "limit"),
        (b"\xff{}", "codec can't decode"),
        (b"[" * 100_000, "recursion depth"),
        (b'{"a": ' * 100_000, "recursion depth"),
    ],
)
def test_text_that_is_not_json_is_one_line(text: bytes, reason: str) -> None:
    with pytest.raises(FileError, match=f"^config is not JSON .*{reason}"):
        parse_json(text, "config")


@pytest.mark.parametrize("text", [b"[]", b"1", b"null", b'"a"'])
def test_json_is_an_object(text: bytes) -> None:
    with pytest.raises(FileError, match="^list holds a JSON .*, expected an object in braces"):
        parse_json(text, "list")


@pytest.mark.parametrize(
    "text",
    [b"a = " + b"[" * 10_000, b"a = 'b", b"\xff", b"a = 1\0"],
)
def test_text_that_is_not_toml_is_one_line(text: bytes) -> None:
    with pytest.raises(FileError, match="^table is not TOML") as caught:
        parse_toml(text, "table")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def with_header(header: object) -> bytes:
    content = json.dumps(header).encode()
    return len(content).to_bytes(8, "little") + content


def test_tensors_and_texts_of_a_safetensors_file_are_read() -> None:
    header = {"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}
    tensors, texts = read_tensors(with_header(header) + b"\1\2", "f")
    assert (tensors["a"].tolist(), texts) == ([1, 2], {})
    texts = {"sha256": UNSEALED}
    assert read_tensors(with_header({"__metadata__": texts}), "f") == ({}, texts)
    assert read_tensors(with_header({"__metadata__": None}), "f") == ({}, {})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(8),
        with_header({})[:-1],
        b"\xff" * 8,
        with_header([]),
        with_header({"__metadata__": []}),
        with_header({"__metadata__": {"a": 1}}),
    ],
)
def test_damage_of_a_safetensors_file_is_one_line(content: bytes) -> None:
    with pytest.raises(FileError, match=r"^f has no tensors that can be read \(.*\): restore it.$"):
        read_tensors(content, "f")


def test_every_bit_of_a_sealed_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    values = {"accuracy": 0.5, "class": f'"sha256": "{UNSEALED}"'}
    write_sealed(path, values, "me")
    assert read_sealed(path, "me") == values
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FileError, match=r"is damaged or belongs to another run .*checksum"):
            check_seal(bytes(damaged), path, "me")
    with pytest.raises(FileError, match="belongs to another run"):
        read_sealed(path, "you")


@pytest.mark.parametrize("text", ["", "0", UNSEALED, "0" * 64])
def test_a_file_without_its_checksum_is_rejected(text: str) -> None:
    content = json.dumps({"sha256": text}).encode()
    with pytest.raises(FileError, match=r"^f is damaged \(its checksum is wrong\)"):
        check_seal(content, "f")
