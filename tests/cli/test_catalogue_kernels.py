"""`nwave kernels`: the kernels that the library generates, as text."""

import re
from pathlib import Path

import pytest

from cli.command import json_object, nwave

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
    result = nwave("kernels", "--surrogate", "nothing")
    assert result.exit_code == 2
    assert "unknown surrogate 'nothing'" in result.stderr
