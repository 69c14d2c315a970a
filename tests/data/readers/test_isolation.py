"""The process that decodes files: answers, faults, crashes and endless loops of its program."""

import os
import shutil
from pathlib import Path

import pytest

from nwavesdk.data.readers import isolation
from nwavesdk.data.readers.isolation import close_decoder, decode
from nwavesdk.data.source import RecordingError
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


def number(path: Path) -> int:
    """The number of the process that answers."""
    return int(decode(path, "number")["pid"])


@pytest.fixture
def path(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(isolation, "PROGRAM", program)
    path = tmp_path / "file.h5"
    path.write_bytes(b"content")
    close_decoder()
    yield path
    close_decoder()


def test_one_process_answers_all_requests_and_survives_faults(path):
    first = number(path)
    with pytest.raises(RecordingError, match=r"file.h5 .*\(is bad in two lines\): repair or"):
        decode(path, "fault")
    with pytest.raises(FileError, match="does not exist"):
        decode(path.with_name("other.h5"), "number")
    assert number(path) == first != os.getpid()


@pytest.mark.parametrize("way", ["crash", "cut", "endless"])
def test_a_dead_or_hung_process_is_an_error_and_the_next_file_is_read(path, monkeypatch, way):
    first = number(path)
    with monkeypatch.context() as patched:
        patched.setattr(isolation, "MAX_SECONDS", 0.2 if way == "endless" else 60)
        with pytest.raises(RecordingError, match=r"file.h5 .* 60 s and 4 GiB, without a crash"):
            decode(path, way)

    # Another recording of an endless file would be endless, too.
    if way == "endless":
        with pytest.raises(RecordingError, match="took too long before"):
            number(path)
        path = shutil.copy(path, path.with_name("next.h5"))
    assert number(path) != first


def test_a_process_that_ended_between_two_files_is_replaced(path):
    first = int(decode(path, "last")["pid"])
    isolation._decoders[os.getpid()].wait()
    assert number(path) != first


def test_an_interrupted_request_leaves_no_answer_for_the_next(path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    first = number(path)
    with monkeypatch.context() as patched:
        patched.setattr(isolation.np, "load", interrupted)
        with pytest.raises(KeyboardInterrupt):
            decode(path, "number")
    assert number(path) != first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_a_decoder_of_its_own(path):
    first = number(path)
    if os.fork() == 0:
        is_other = number(path) != first
        close_decoder()
        os._exit(is_other)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
    assert number(path) == first


def test_a_file_that_needs_too_much_memory_is_an_error(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "set.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("labels", (2**40,), "i8", chunks=(1024,))
    with pytest.raises(RecordingError, match=r"set.h5 cannot be read .*allocate"):
        decode(path, "hdf5", names=["labels"])
