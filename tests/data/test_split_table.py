"""Tables of sets: what they assign, and one line for each fault, with the file and its line."""

from pathlib import Path

import pytest

from nwavesdk.data.source import Item
from nwavesdk.data.split_table import read_event_times, read_split_table
from nwavesdk.internal.files import FileError
from nwavesdk.metrics import Event


def items(*keys: str) -> tuple[Item, ...]:
    return tuple(Item(key, Path("data") / key, class_name="folder") for key in keys)


def write(folder: Path, text: str) -> Path:
    path = folder / "split.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"is empty \(0 bytes\)"),
        ("\n\n", r"line 2: expected the header file,part\[,class\]\[,group\], got ''"),
        ("a.wav,train\n", "line 1: expected the header .*, got 'a.wav,train'"),
        ("file;part\na;train\n", "line 1: expected the header .*, got 'file;part'"),
        ("file,part,part\n", "line 1: expected the header .*, got 'file,part,part'"),
        ("file\na\n", "line 1: expected the header .*, got 'file'"),
        ("part,group\ntrain,a\n", "line 1: expected the header .*, got 'part,group'"),
        ("file,part\n", "names no recording"),
        ("file,part\na,train\n\nb,tset\n", "line 4: expected .* of train, val, test, got 'b,tset'"),
        ("file,part\na,train\nb,\n", "line 3: expected each file once, all columns.* got 'b,'"),
        ("file,part\n,train\n", "line 2: .* got ',train'"),
        ("file,part,class\na,train,\n", "line 2: .* got 'a,train,'"),
        ("file,part\na,train,1\n", "line 2: .* got 'a,train,1'"),
        ("file,part\na\n", "line 2: .* got 'a'"),
        ("part,file\ntrain\n", "line 2: .* got 'train'"),
        ("file,part\na,train\nb,val\n./a,val\n", "line 4: expected each file once.* './a,val'"),
        ('file,part\n"a,train\n', "cannot be read as comma-separated text"),
        ('file,part\n"a"b,train\n', "cannot be read as comma-separated text"),
        (f"file,part\n{'a' * 200_000},train\n", "cannot be read as comma-separated text"),
        ("file,part\na\udcff.wav,train\n", "as comma-separated text in UTF-8 .* in position 11"),
        ("\0" * (2**24 + 1), "is too large"),
        ("file,part\n\x1b[31m,train\nx,x\n", "line 3: .* got 'x,x'"),
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
    words = r"split\.csv names '\\x1b\[2J', which is not a recording of the data: use paths inside"
    with pytest.raises(FileError, match=words):
        table.apply(items("a.wav"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "file,start,end\n",
            "line 1: expected the header file,start,end,event|it names no recording",
        ),
        ("file,start,end,event\n", "names no recording"),
        (
            "file,start,end,event\na.wav,1,2,yes\na.wav,2,1,yes\n",
            "line 3: expected a file, a start",
        ),
        ("file,start,end,event\na.wav,-1,2,yes\n", "line 2: .* got 'a.wav,-1,2,yes'"),
        ("file,start,end,event\na.wav,1,inf,yes\n", "line 2: .* got 'a.wav,1,inf,yes'"),
        ("file,start,end,event\na.wav,1,soon,yes\n", "line 2: .* got 'a.wav,1,soon,yes'"),
        ("file,start,end,event\na.wav,1,2\n", "line 2: .* got 'a.wav,1,2'"),
        ("file,start,end,event\na.wav,1,2,background\n", "line 2: .* the name of an event"),
        ("file,start,end,event\nz.wav,1,2,yes\n", "names 'z.wav', which is not a recording"),
    ],
)
def test_faults_of_a_table_of_times_name_the_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FileError, match=words):
        read_event_times(write(tmp_path, text)).apply(items("a.wav"))


def test_a_table_of_times_gives_events_to_recordings(tmp_path: Path) -> None:
    text = "file,start,end,event\n./x//a.wav,1,2,yes\nx/a.wav,0.5,1,no\n"
    (item,), note = read_event_times(write(tmp_path, text)).apply(items("x/a.wav", "c.wav"))
    assert (item.key, item.class_name) == ("x/a.wav", "yes")
    assert item.events == (Event("yes", 1, 2), Event("no", 0.5, 1))
    assert note == "1 of 2 recordings left out, not in the table"
