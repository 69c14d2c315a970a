import json

import pytest

from nwavesdk.internal.files import FileError
from nwavesdk.internal.formats import (
    MOST_LEVELS,
    UNSEALED,
    check_seal,
    load_tensors,
    parse_json,
    parse_toml,
    safetensors_texts,
    seal,
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b" \n", "it is empty"),
        (b'{"a": 1', "Expecting"),
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b'{"a": -Infinity}', "-Infinity is not"),
        (b'{"a": ' + b"9" * 5000 + b"}", "limit"),
        (b"\xff{}", "codec can't decode"),
        (b"[" * 100_000, "nested deeper than 64"),
        (b'["]", ' * 1000, "nested deeper than 64"),
        (b'{"a": ' * 100 + b"1" + b"}" * 100, "nested deeper than 64"),
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
    [b"a = " + b"[" * 10_000, b".".join([b"a"] * 10_000) + b" = 1", b"a = 'b", b"\xff", b"a = 1\0"],
)
def test_text_that_is_not_toml_is_one_line(text: bytes) -> None:
    with pytest.raises(FileError, match="^table is not TOML") as caught:
        parse_toml(text, "table")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_ordinary_text_is_read() -> None:
    brackets = "[{" * MOST_LEVELS
    assert parse_json(b'{"a": "' + brackets.encode() + b'"}', "") == {"a": brackets}
    assert parse_toml(b"a.b.c = [1, {d = '[[['}]", "") == {"a": {"b": {"c": [1, {"d": "[[["}]}}}


def with_header(header: object) -> bytes:
    content = json.dumps(header).encode()
    return len(content).to_bytes(8, "little") + content


def test_texts_of_a_safetensors_file_are_read() -> None:
    assert safetensors_texts(with_header({"__metadata__": {"a": "b"}}) + b"more", "f") == {"a": "b"}
    assert safetensors_texts(with_header({}), "f") == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is cut off"),
        (bytes(8), "is not JSON"),
        (with_header({})[:-1], "is cut off"),
        (b"\xff" * 8, "is cut off"),
        (with_header([]), "holds a JSON list"),
        (with_header({"__metadata__": []}), "has damaged texts"),
        (with_header({"__metadata__": {"a": 1}}), "has damaged texts"),
    ],
)
def test_a_damaged_header_of_a_safetensors_file_is_one_line(content: bytes, reason: str) -> None:
    with pytest.raises(FileError, match=f"^f {reason}"):
        safetensors_texts(content, "f")


def test_damaged_tensors_are_one_line() -> None:
    pytest.importorskip("safetensors.torch")
    assert load_tensors(with_header({})) == {}
    with pytest.raises(ValueError, match="^its tensors cannot be read: .*header"):
        load_tensors(with_header({})[:-1])


def test_a_text_of_the_user_that_looks_unsealed_is_rejected() -> None:
    with pytest.raises(ValueError, match="a file cannot hold the text unsealed"):
        seal(f'{{"sha256": "{UNSEALED}", "class": "{UNSEALED}"}}'.encode())


def test_every_bit_of_a_sealed_file_counts() -> None:
    content = seal(b'{"sha256": "' + UNSEALED.encode() + b'", "accuracy": 0.5}')
    checksum = content[12:76].decode()
    check_seal(content, checksum, "result.json")
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FileError, match=r"^result.json is damaged \(its checksum is wrong\)"):
            check_seal(bytes(damaged), damaged[12:76].decode("latin-1"), "result.json")
    for checksum in (None, 3, "", "\ud800", UNSEALED, "0"):
        with pytest.raises(FileError, match="checksum"):
            check_seal(content, checksum, "result.json")
