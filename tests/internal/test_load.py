"""The load of the cores by other processes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nwavesdk.internal.load import LoadMonitor, usable_cores


@pytest.mark.skipif(not os.path.isfile("/proc/stat"), reason="needs /proc/stat")
def test_another_process_is_load_elsewhere_and_our_own_work_is_not():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            time.sleep(0.2)  # until it has started
            load, start, begin = LoadMonitor(), time.process_time(), time.monotonic()
            while time.process_time() - start < 0.4:
                pass
            share = load.elsewhere()
            ours = 0.4 / (time.monotonic() - begin) / usable_cores()
        finally:
            other.kill()
    assert 0.3 / usable_cores() < share
    assert share < 1.1 - ours


def test_without_a_report_of_the_system_the_load_is_unknown(monkeypatch):
    monkeypatch.setattr("nwavesdk.internal.load.Path", lambda _: Path("no/such/file"))
    assert LoadMonitor().elsewhere() is None
