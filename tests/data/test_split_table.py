"""Tables of sets: what they assign, and one line for each fault, with the file and its line."""

from pathlib import Path

import pytest

from nwavesdk.data.source import Item
from nwavesdk.data.split_table import read_split_table
from nwavesdk.internal.files import FileError


def items(*keys: str) -> tuple[Item, ...]:
    return tuple(Item(key, Path("data") / key, class_name="folder") for key in keys)


def write(folder: Path, text: str) -> Path:
    path = folder / "split.csv"
    path.write_bytes(text.encode())
    return path


def test_a_table_gives_parts_classes_and_groups_in_any_order(tmp_path: Path) -> None:
    text = 'group,file,class,part\r\np1,a.wav,yes,train\r\n\r\np2,"b,c.wav",no,test\r\n'
    named, note = read_split_table(write(tmp_path, text)).apply(items("b,c.wav", "a.wav"))
    assert [(item.key, item.part, item.class_name, item.group) for item in named] == [
        ("b,c.wav", "test", "no", "p2"),
        ("a.wav", "train", "yes", "p1"),
    ]
    assert note == ""


def test_columns_that_are_left_out_change_nothing(tmp_path: Path) -> None:
    table = read_split_table(write(tmp_path, "\ufefffile,group\n ./x//a.wav , g \n"))
    (item,), _ = table.apply(items("x/a.wav"))
    assert (item.key, item.part, item.class_name, item.group) == ("x/a.wav", None, "folder", "g")


def test_recordings_that_a_table_does_not_name_are_counted(tmp_path: Path) -> None:
    table = read_split_table(write(tmp_path, "file,part\nb.wav,train\n"))
    named, note = table.apply(items("a.wav", "b.wav"))
    assert [item.key for item in named] == ["b.wav"]
    assert note == "1 of 2 recordings left out, not in the table"
    _, note = table.apply(items("a.wav", "b.wav", "c.wav"))
    assert note == "2 of 3 recordings left out, not in the table"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"is empty \(0 bytes\)"),
        ("\n\n", "line 1: has the columns ''"),
        ("a.wav,train\n", "line 1: has the columns 'a.wav,train', expected the header file,part"),
        ("file;part\na;train\n", "line 1: has the columns 'file;part'.*with commas"),
        ("file,part,part\n", "line 1: has the columns 'file,part,part'"),
        ("file\na\n", "line 1: has the columns 'file'"),
        ("part,group\ntrain,a\n", "line 1: has the columns 'part,group'"),
        ("file,part\n", "names no recording"),
        ("file,part\na,train\n\nb,tset\n", "line 4: is 'b,tset', .* with train, val, test as part"),
        ("file,part\na,train\nb,\n", "line 3: is 'b,', expected file,part: fill in all"),
        ("file,part\n,train\n", "line 2: is ',train'"),
        ("file,part,class\na,train,\n", "line 2: is 'a,train,', expected file,part,class"),
        ("file,part\na,train,1\n", "line 2: is 'a,train,1', expected file,part"),
        ("file,part\na\n", "line 2: is 'a', expected file,part"),
        ("file,part\na,train\nb,val\n./a,val\n", "line 4: 'a' is in line 2, too"),
        ('file,part\n"a,train\n', "cannot be read as comma-separated text"),
        ('file,part\n"a"b,train\n', "cannot be read as comma-separated text"),
        (f"file,part\n{'a' * 200_000},train\n", "cannot be read as comma-separated text"),
        ("file,part\n\x1b[31m,train\nx,x\n", "line 3: is 'x,x'"),
    ],
)
def test_a_faulty_table_gives_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(FileError, match=words) as error:
        read_split_table(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_file_that_the_data_do_not_have_is_an_error(tmp_path: Path) -> None:
    table = read_split_table(write(tmp_path, "file,part\na.wav,train\n\x1b[2J,val\n"))
    with pytest.raises(
        FileError, match=r"line 3: '\\x1b\[2J' is not a recording of the data: .*such as 'a.wav'"
    ):
        table.apply(items("a.wav"))


def test_a_table_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_bytes(b"file,part\na\xff.wav,train\n")
    with pytest.raises(FileError, match="as comma-separated text in UTF-8 .* in position 11"):
        read_split_table(path)
    with pytest.raises(FileError, match="does not exist"):
        read_split_table(tmp_path / "none.csv")
    with path.open("wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(FileError, match="is too large"):
        read_split_table(path)
