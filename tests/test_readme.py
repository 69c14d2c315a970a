"""The README's example runs, it stays short, and the files that pages name exist."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

from examples.small_data import FORMATS
from nwavesdk.layers import prepare_net

README = Path(__file__).parents[1] / "README.md"


def test_the_examples_run_as_written(capsys, tmp_path):
    text = README.read_text(encoding="utf-8")
    net, neuron = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(net.splitlines()) <= 25
    exec(compile(net, "README.md", "exec"), {})
    assert float(capsys.readouterr().out.split()[-1]) > 0.9
    (tmp_path / "neuron.py").write_text(neuron, encoding="utf-8")
    (use,) = re.findall(r"^`(AdaptiveLayer\(.*\))` is", text, re.MULTILINE)
    layer = eval(use, runpy.run_path(str(tmp_path / "neuron.py")))
    layer.solver = "reference"
    prepare_net(layer)
    spk, _ = layer(torch.full((1, 100, 64), 0.2))
    spk.sum().backward()
    assert spk.any()
    assert layer.k.grad != 0


def test_both_commands_are_at_the_top():
    text = README.read_text(encoding="utf-8")
    top = text[: text.index("## Twenty lines")]
    commands = re.findall(r"```sh\n(.*?)```", top, re.DOTALL)
    assert [c.count("\n") for c in commands] == [1, 1]
    assert "nwave train" in commands[0]
    assert "pytest" in commands[1]


def test_it_stays_short():
    assert len(README.read_text(encoding="utf-8").split()) <= 700


ROOT = README.parent
PAGES = [*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", *ROOT.glob("docs/**/*.md")]
EXAMPLES = {"a/b.py", "tests/a/test_b.py", "yes/ann-1.wav"}
"""Names of files that stand for any file."""


MADE_WITH_THE_SITE = ("gallery", "generated", "reference")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        target = (page.parent / link).resolve()
        # The build of the site, which checks its links, makes pages of these folders.
        is_made = any(ROOT / "docs" / folder in target.parents for folder in MADE_WITH_THE_SITE)
        assert is_made or target.exists(), link
    for name in set(re.findall(r"`([\w-]+/[\w/.-]*)`", text)) - EXAMPLES:
        if not name.startswith(
            ("runs/", "calls/", "FOLDER/")
        ):  # folders of users, names of benchmarks
            places = [ROOT / name, ROOT / "src" / "nwavesdk" / name]
            assert any(place.exists() for place in places), name


LAST_LINE = {
    "cpu_and_gpu": r"spikes that differ: 0",
    "live": r"computing time of a block: p50 [\d.]+ ms, p99 [\d.]+ ms",
    "mismatch": r"\| h1v2 \| mismatch( \| [\d.]+){2} \| [\d.]+ \[[\d., ]+\]"
    r" \| [\d.]+% \| [\d.]+ \|",
    "moving_bars": r"accuracy: (0\.9|1\.0)\d+",
    "own_loop": r"validation accuracy: (0\.[7-9]|1\.0)\d+",
    "qtdb": r"/ecg\.npz",
    "small_data": r"/sounds",
    "wake_up": r"dead neurons: 0",
}


PROGRAMS = sorted(
    path
    for path in (README.parent / "examples").glob("*.py")
    # `train/test_net_file.py` and `cli/test_step.py` run these.
    if path.stem not in ("own_net", "onnx_sound")
)


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_examples_run(path, capsys, monkeypatch, tmp_path, request):
    arguments = []
    if path.stem == "mismatch":
        small = "--profiles h1v2 --seeds 0 --chips 3 --epochs 1"
        arguments = [request.getfixturevalue("tones"), "--out", tmp_path / "out", *small.split()]
    if path.stem == "qtdb":
        arguments = [FORMATS["ecg"](tmp_path / "ecg"), tmp_path / "ecg.npz"]
    if path.stem == "small_data":
        arguments = ["wav", tmp_path / "sounds"]
    if path.stem == "live":
        tones = request.getfixturevalue("tones")
        arguments = [request.getfixturevalue("live_run"), tones / "low" / "0.wav"]
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name="__main__")
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert re.search(f"{LAST_LINE[path.stem]}$", last), last
