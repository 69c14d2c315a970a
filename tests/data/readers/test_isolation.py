"""The process that decodes files: answers, faults, crashes and endless loops of its program."""

import os
import time
from pathlib import Path

import pytest

from nwavesdk.data.readers import isolation
from nwavesdk.data.readers.isolation import Decoder
from nwavesdk.data.reading import RecordingError

# A program without libraries: it answers the number of its process, or misbehaves.
PROGRAM = """
import json, os, struct, sys, time
for line in sys.stdin.buffer:
    request = json.loads(line)
    letter, content = b"J", str(os.getpid()).encode()
    if request["function"] == "fault":
        letter, content = b"F", b"is bad\\nin two lines"
    if request["function"] == "crash":
        os.abort()
    if request["function"] == "endless":
        time.sleep(100)
    size = 2**40 if request["function"] == "huge" else len(content)
    if request["function"] == "cut":
        size += 1
    sys.stdout.buffer.write(letter + struct.pack("<Q", size) + content)
    sys.stdout.buffer.flush()
    if request["function"] == "cut":
        break
"""
NAME = Path("some/file.h5")


@pytest.fixture
def decoder(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(isolation, "PROGRAM", program)
    decoder = Decoder()
    yield decoder
    decoder.close()


def test_one_process_answers_all_requests(decoder):
    first = decoder.ask(NAME, "number")
    assert decoder.ask(NAME, "number") == first
    assert int(first) != os.getpid()
    decoder.close()
    assert decoder.ask(NAME, "number") != first


def test_a_fault_is_an_error_of_one_line(decoder):
    number = decoder.ask(NAME, "number")
    with pytest.raises(RecordingError, match=r"^some/file.h5 is bad\\nin two lines: repair or"):
        decoder.ask(NAME, "fault")
    assert decoder.ask(NAME, "number") == number


@pytest.mark.parametrize("way", ["crash", "cut", "huge"])
def test_a_crash_is_an_error_and_the_next_file_is_read(decoder, way):
    number = decoder.ask(NAME, "number")
    with pytest.raises(RecordingError, match=r"^some/file.h5 crashes its decoder, or takes more"):
        decoder.ask(NAME, way)
    assert decoder.ask(NAME, "number") != number


def test_an_endless_loop_is_ended(decoder):
    decoder.ask(NAME, "number")
    decoder.seconds = 0.2
    start = time.monotonic()
    with pytest.raises(RecordingError, match=r"or takes more than 0.2 s: repair or remove it"):
        decoder.ask(NAME, "endless")
    assert time.monotonic() - start < 20


def test_a_forked_process_has_a_decoder_of_its_own(decoder):
    number = decoder.ask(NAME, "number")
    parent = decoder._process
    decoder.forget()
    assert decoder.ask(NAME, "number") != number
    parent.kill()
    parent.communicate()
