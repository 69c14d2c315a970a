"""`nwavesdk.interop.c.decision_text`: C has the detections of `DecisionStream`."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

from cli.command import nwave
from interop.c.compilers import CLANG, GCC, compile_c, needs_gcc, require_program
from nwavesdk.data import LogMel
from nwavesdk.interop.c.decision_text import decision_header
from nwavesdk.train import Decision, RunFolder, load
from nwavesdk.train.apply.decision import DecisionStream, event_scores
from train.event_folders import tone, write_events, write_sound
from train.runs import write_untrained

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# It prints step, time, event and score of each detection.
PROGRAM = """
#include <stdio.h>
#include "net_decision.h"

int main(void)
{
    static net_decision decision;
    float outputs[NET_EVENTS + 1];
    net_decision_init(&decision);
    while (fread(outputs, sizeof outputs, 1, stdin)) {
        const int event = net_decide(&decision, outputs);
        if (event < 0) continue;
        printf("%d %.17g %s %.9g\\n", (int)decision.steps - 1, net_seconds(&decision),
               net_events[event], (double)decision.smoothed[event]);
    }
    return 0;
}
"""


def detections_in_c(
    folder: Path, header: str, outputs: np.ndarray, *command: str
) -> list[tuple[int, float, str, float]]:
    sources = {"net_decision.h": header, "main.c": PROGRAM}
    program = compile_c(folder, sources, command, "main")
    result = subprocess.run([program], input=outputs.tobytes(), capture_output=True, check=True)
    rows = [line.split() for line in result.stdout.decode().splitlines()]
    return [(int(step), float(time), name, float(score)) for step, time, name, score in rows]


@pytest.mark.parametrize(
    ("compiler", "n_events", "smoothing", "hold", "first"),
    [(GCC, 3, 0.1, 2, 0), (CLANG, 1, 0.0, 1, 1)],
)
def test_detections_on_random_tracks_are_the_same(
    compiler: str, n_events: int, smoothing: float, hold: int, first: int, tmp_path: Path
) -> None:
    require_program(compiler)
    log_mel, block_steps = LogMel(16_000, hop=0.02), 5 * hold
    outputs = np.random.default_rng(n_events).normal(0, 2, (20_000, n_events + 1))
    # An event that is high from the start is not a rise. The first step counts as its past, too.
    outputs[0, first] = 30
    outputs[1:20, 1] = 8
    outputs = outputs.astype(np.float32)
    decision = Decision(
        events=("an", "événement", "c")[:n_events],
        step_seconds=log_mel.hop / hold,
        smoothing=smoothing,
        threshold=-0.9,
        release=-1.2,
        dead_time=0.3,
    )
    frame = log_mel.step, log_mel.width, log_mel.sample_rate
    header = decision_header(decision, frame=frame, hold=hold, block_steps=block_steps, logit=0.5)
    detected = detections_in_c(tmp_path, header, outputs, compiler, "-O1", *SANITIZERS)

    # A step at a time, so that the step of a detection is known.
    stream, scores = DecisionStream(decision), event_scores(outputs / 2)
    expected = []
    for step in range(len(scores)):
        end_of_block = log_mel.end_of((step // block_steps + 1) * block_steps // hold - 1)
        detections = stream.push(scores[step : step + 1], np.array([end_of_block]))
        expected += [(step, log_mel.end_of(step // hold), *found[::2]) for found in detections]

    assert len(expected) > 30
    assert [row[:3] for row in detected] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3] for row in detected], [row[3] for row in expected], 1e-4)


@needs_gcc
def test_the_programs_of_a_run_print_detections(tmp_path: Path) -> None:
    run = tmp_path / "run"
    sounds = write_events(tmp_path / "events", events=5)
    choices = {"data": {"source": str(sounds), "bands": 12}, "task": {"name": "detect"}}
    write_untrained(run, choices | {"machine": {"accelerator": "cpu"}})
    # By these numbers, initial weights detect something.
    numbers = {"smoothing": 0.1, "threshold": -0.55, "release": -0.6, "dead_time": 0.3}
    decision = {"events": ["high", "low"], "step_seconds": 0.02, **numbers}
    opened = RunFolder(run)
    opened.write_result({"decision": decision}, opened.identity)
    folder = tmp_path / "firmware"
    nwave("export", run, "--c", folder)

    # The outputs of the float net, as `nwave detect` decides on them.
    samples = np.concatenate([tone("high"), np.zeros(3000), tone("low"), np.zeros(3000)] * 8)
    write_sound(tmp_path / "tones.wav", samples)
    lines = nwave("detect", run, tmp_path / "tones.wav", "--json").stdout.splitlines()
    expected = [(line["time"], line["event"]) for line in map(json.loads, lines)]
    stream = load(run).stream()
    parts = [stream.push(samples.astype(np.float32)), stream.finish()]
    outputs, times = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    header = (folder / "net_decision.h").read_text()
    detected = detections_in_c(tmp_path, header, outputs, GCC)
    assert len(expected) > 4
    assert [(times[step], name) for step, _, name, _ in detected] == expected
    assert all(time <= times[step] < time + 0.1 for step, time, *_ in detected)

    command = re.search("`(cc .* -o listen)`", (folder / "README.md").read_text())[1]
    subprocess.run(f"{command} && cc -I. net.c example.c -lm", cwd=folder, shell=True, check=True)
    content = (2**15 * samples).astype(np.int16).tobytes()
    output = subprocess.run([folder / "listen"], input=content, capture_output=True).stdout
    assert re.fullmatch(r"( +\d+\.\d\d s  (high|low)  -?0\.\d\n)+", output.decode())
