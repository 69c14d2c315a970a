"""The sections of the config of a run; `test_config.py` tests their bounds with the config."""

from typing import get_args

from nwavesdk.data.split import SplitKind
from nwavesdk.train.config.sections import SPLITS


def test_splits_are_those_of_the_data_package() -> None:
    """The name of a table takes the place of `"file"`."""
    assert set(SPLITS) == set(get_args(SplitKind)) - {"file"}
