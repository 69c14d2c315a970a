"""The Python of `docs/nir.md` runs and finds equal spikes."""

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/nir.md"


@pytest.mark.interop
def test_the_example_compares_equal_spikes():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, str(PAGE), "exec"), {})
    assert re.fullmatch(
        r"[1-9][\d,]* spikes in .* are equal, membranes within 0\n", output.getvalue()
    )
