"""Search over the config of a net that a function builds, on NWAVE's data."""

from nwavesdk.analysis.hpo.trial import train_one_trial
from nwavesdk.analysis.hpo.wrapper import HPOResult, HPOWrapper

__all__ = ["HPOResult", "HPOWrapper", "train_one_trial"]
