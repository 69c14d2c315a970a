"""The Python of `docs/neurobench.md` runs, and the harness alone counts nothing of the net."""

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/neurobench.md"


@pytest.mark.interop
def test_the_example_counts_what_the_harness_alone_does_not():
    from neurobench.models import TorchModel

    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    names = {}
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, str(PAGE), "exec"), names)
    # Four recordings of 50 steps, 16 inputs, 8 neurons.
    assert "'Dense': 6400.0" in output.getvalue()
    assert "'MembraneUpdates': 400.0" in output.getvalue()
    benchmark = names["Benchmark"](
        TorchModel(names["net"]), names["loader"], [], [], names["metrics"]
    )
    alone = benchmark.run(quiet=True)
    assert alone["SynapticOperations"]["Dense"] == alone["MembraneUpdates"] == 0
