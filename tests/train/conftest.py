from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def choices(tones: Path) -> dict[str, Any]:
    """A run that takes a second: few bands, few neurons, few epochs."""
    return {
        "seed": 3,
        "data": {"source": str(tones), "bands": 12, "hold": 1},
        "net": {"hidden": [24], "population": 3},
        "learning": {"epochs": 3, "batch_size": 8, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }
