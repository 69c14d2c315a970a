"""`nwave neurons`, `kernels` and `net`, and `nwave train --neuron` as it is typed."""

import os
import re
from pathlib import Path

import pytest

from cli.command import json_object, nwave, rejected, succeeded
from nwavesdk.layers.catalogue import available_neurons
from nwavesdk.presets import NAMES, page_path
from nwavesdk.train.config.run_config import UNIONS


def test_the_list_has_a_block_for_each_neuron():
    result = succeeded("neurons")
    heads = [line.split()[0] for line in result.stdout.splitlines() if re.match(r"\w+  \w", line)]
    assert heads == [*available_neurons()]
    assert re.search(r"tau_w +time constant +0\.06 +s ", result.stdout)
    report = json_object(nwave("neurons", "--json"))
    assert [neuron["name"] for neuron in report["neurons"]] == heads
    assert report["output"] is None


def test_a_name_gives_that_neuron_in_detail_and_its_picture(tmp_path: Path):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "a" / "b"
    result = succeeded("neurons", "AdLIF", "--output", folder)
    assert re.search(
        r"\n  tau_w +time constant +0\.06 +s +Time constant of the adaptation\.\n", result.stdout
    )
    assert re.search(r"\n  x +input +membrane +Input current of a step\.\n", result.stdout)
    assert f"drawn in {folder / 'adlif.png'}" in result.stdout
    assert [file.name for file in folder.iterdir()] == ["adlif.png"]

    report = json_object(nwave("neurons", "li", "--out", folder, "--json"))
    (neuron,) = report["neurons"]
    assert neuron["plot"] == str(folder / "li.png")
    assert neuron["constants"][0]["kind"] == "time constant"
    assert {file.name for file in folder.iterdir()} == {"adlif.png", "li.png"}


OWN_NEURONS = """\
from nwavesdk.layers import Positive, TimeConstant, decay, held, neuron, spike

print("not a part of the result")


@neuron
def DendriteLayer(x, v, d, *, tau: TimeConstant, threshold: Positive = 1.0):
    branch = decay(tau) * d + x
    u = decay(tau) * v + 0.2 * branch
    s = spike(u - threshold)
    return s, u - threshold * held(s), branch


@neuron
def BareLayer(x, v, *, threshold: Positive):
    s = spike(v + x - threshold)
    return s, (v + x) * (1 - held(s))
"""


def test_a_neuron_of_a_file_of_the_user(tmp_path: Path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "own.py"
    path.write_text(OWN_NEURONS)
    folder = tmp_path / "pictures"
    report = json_object(nwave("neurons", f"{path}:DendriteLayer", "--output", folder, "--json"))
    (neuron,) = report["neurons"]
    assert (neuron["name"], neuron["layer"]) == ("dendrite", "DendriteLayer")
    assert neuron["summary"] == "no description."
    assert (folder / "dendrite.png").read_bytes().startswith(b"\x89PNG")

    listed = json_object(nwave("kernels", f"{path}:DendriteLayer", "--json"))
    assert (listed["name"], listed["saved"]) == ("dendrite", 1)

    for words, error in [
        ((path,), r"own\.py:build: there is no layer build, expected one of DendriteLayer, Bare"),
        ((tmp_path / "none.py",), "none.py"),
        ((f"{path}:BareLayer", "--output", folder), "threshold has no default"),
    ]:
        assert re.search(error, rejected("neurons", *words))


def test_wrong_words_are_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "li.png").mkdir(parents=True)

    for words, error in [
        (("adlf",), "unknown neuron 'adlf', did you mean 'adlif'.: expected one of lif,"),
        (("li", "--output", tmp_path / "file"), "--output: .*is a file, expected a folder"),
        (
            ("li", "--output", tmp_path / "file" / "x"),
            "--output: .*cannot be written .Not a directory",
        ),
        (("li", "--output", tmp_path / "taken"), r"li\.png is a folder, expected a file"),
        (("li", "adlif"), "unexpected extra argument"),
    ]:
        assert re.search(error, rejected("neurons", *words))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions")
def test_a_read_only_folder_is_one_line(tmp_path: Path):
    tmp_path.chmod(0o500)
    for folder in (tmp_path, tmp_path / "new"):
        assert "its folder is read-only" in rejected("neurons", "li", "--output", folder)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--neuron", "adlf"], "--neuron: unknown neuron 'adlf', did you mean 'adlif'."),
        (["--neuron", "li"], "--neuron: li is a read-out, which does not spike"),
        (["--neuron", "h1v1"], "--neuron: h1v1 is the neuron of a chip.*with --chip h1v1"),
        (["--neuron", "qif", "--constants", "taw=1"], "--constants: .*mean 'tau'"),
        (["--neuron", "qif", "--learn", "taw"], "--learn: .*mean 'tau'"),
        (["--neuron", "izhikevich", "--tau", "0.02"], "--tau: got 'tau', which izhikevich lacks"),
        (["--neuron", "adlif", "--constants", "a=2"], "--constants: .*below 1, got 2"),
    ],
)
def test_a_wrong_neuron_of_a_run_is_one_line(words: list[str], error: str, tmp_path: Path):
    assert re.search(error, rejected("train", "--out", tmp_path / "run", "--net", "lif", *words))
    assert not (tmp_path / "run").exists()


PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "kernels.md"


def test_the_source_is_that_of_the_page() -> None:
    shown = nwave("kernels", "--show").stdout
    excerpts = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(excerpts) == 2
    assert all(excerpt in shown for excerpt in excerpts)


@pytest.mark.parametrize("machine", ["cpu", "gpu"])
def test_sources_are_python_and_as_long_as_listed(machine: str) -> None:
    words = ["kernels", "adlif", "--json", *(["--gpu"] if machine == "gpu" else [])]
    lengths = json_object(nwave(*words))
    sources = json_object(nwave(*words, "--show"))
    assert sources["machine"] == machine
    for direction, source in sources["kernels"].items():
        compile(source, direction, "exec")
        assert len(source.splitlines()) == lengths["kernels"][direction]
    assert ("import triton" in sources["kernels"]["forward"]) == (machine == "gpu")


def test_a_readout_has_no_surrogate() -> None:
    report = json_object(nwave("kernels", "li", "--json"))
    assert report["surrogate"] is None
    assert "def surrogate" not in nwave("kernels", "li", "--show").stdout


def test_unknown_names_are_errors() -> None:
    assert "unknown neuron 'nobody'" in nwave("kernels", "nobody").stderr
    assert "unknown surrogate 'nothing'" in rejected("kernels", "--surrogate", "nothing")


def test_the_list_has_a_line_and_the_options_of_each_preset() -> None:
    result = succeeded("net")
    heads = [line.split()[0] for line in result.stdout.splitlines() if line[:1].isalpha()]
    assert heads[:-1] == [*NAMES]
    facts = json_object(nwave("net", "--json"))["presets"]
    _, models = UNIONS["net"]
    for preset in facts:
        assert {*preset["options"], "name"} == models[preset["preset"]].model_fields.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_printed_as_it_is(name: str) -> None:
    text = page_path(name).read_text()
    assert nwave("net", name).stdout == text
    assert json_object(nwave("net", name, "--json"))["text"] == text


def test_an_unknown_net_is_one_line() -> None:
    assert rejected("net", "conf").startswith("nwave: PRESET: 'conf' is not one of 'lif', ")
