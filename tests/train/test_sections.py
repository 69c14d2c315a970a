"""The sections of the config of a run; `test_config.py` tests their bounds with the config."""

from nwavesdk.data.split import SplitBy
from nwavesdk.train.sections import DataConfig


def test_splits_are_those_of_the_data_package() -> None:
    assert DataConfig.model_fields["split"].annotation == SplitBy
