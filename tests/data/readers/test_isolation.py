"""The process that decodes files: answers, faults, crashes and endless loops of its program."""

import os
import time
from pathlib import Path

import pytest

from nwavesdk.data.readers import isolation
from nwavesdk.data.readers.isolation import Decoder
from nwavesdk.data.reading import RecordingError
from nwavesdk.internal.files import FileError

# A program without libraries: it answers the number of its process, or misbehaves.
PROGRAM = """
import io, json, os, sys, time
import numpy as np
for line in sys.stdin.buffer:
    function = json.loads(line)["function"]
    if function == "crash":
        os.abort()
    if function == "endless":
        time.sleep(100)
    arrays = {"fault": "is bad\\nin two lines"} if function == "fault" else {"pid": os.getpid()}
    file = io.BytesIO()
    np.savez(file, **arrays)
    answer = len(file.getvalue()).to_bytes(8, "little") + file.getvalue()
    sys.stdout.buffer.write(answer[:100] if function == "cut" else answer)
    sys.stdout.buffer.flush()
    if function in ("cut", "last"):
        break
"""


def number(decoder: Decoder, path: Path) -> int:
    """The number of the process that answers."""
    return int(decoder.ask(path, "number")["pid"])


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.h5"
    path.write_bytes(b"content")
    return path


@pytest.fixture
def decoder(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(isolation, "PROGRAM", program)
    decoder = Decoder()
    yield decoder
    decoder.close()


def test_one_process_answers_all_requests(decoder, path):
    first = number(decoder, path)
    assert number(decoder, path) == first != os.getpid()
    decoder.close()
    assert number(decoder, path) != first


def test_a_fault_is_an_error_of_one_line(decoder, path):
    first = number(decoder, path)
    with pytest.raises(RecordingError, match=r"file.h5 is bad\\nin two lines: repair or"):
        decoder.ask(path, "fault")
    with pytest.raises(FileError, match="does not exist"):
        decoder.ask(path.with_name("other.h5"), "number")
    assert number(decoder, path) == first


@pytest.mark.parametrize("way", ["crash", "cut"])
def test_a_crash_is_an_error_and_the_next_file_is_read(decoder, path, way):
    first = number(decoder, path)
    with pytest.raises(RecordingError, match=r"file.h5 crashes its decoder, needs too much mem"):
        decoder.ask(path, way)
    assert number(decoder, path) != first


def test_a_process_that_ended_between_two_files_is_replaced(decoder, path):
    decoder.ask(path, "last")
    process = decoder._process
    process.wait()
    assert number(decoder, path) != process.pid


def test_an_endless_loop_is_ended(decoder, path):
    number(decoder, path)
    decoder.seconds = 0.2
    start = time.monotonic()
    with pytest.raises(RecordingError, match=r"or more than 0.2 s: repair or remove it"):
        decoder.ask(path, "endless")
    assert time.monotonic() - start < 20


def test_an_interrupted_request_leaves_no_answer_for_the_next(decoder, path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    first = number(decoder, path)
    with monkeypatch.context() as patched:
        patched.setattr(isolation, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            decoder.ask(path, "number")
    assert number(decoder, path) != first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_a_decoder_of_its_own():
    parent = isolation.shared_decoder()
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, b"same" if isolation.shared_decoder() is parent else b"other")
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        assert answer.read() == b"other"
    os.wait()
    assert isolation.shared_decoder() is parent


def test_a_file_that_needs_too_much_memory_is_an_error(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "set.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("labels", (2**40,), "i8", chunks=(1024,))
    with pytest.raises(RecordingError, match=r"set.h5 cannot be read \(.*allocate"):
        isolation.shared_decoder().ask(path, "hdf5", names=["labels"])
