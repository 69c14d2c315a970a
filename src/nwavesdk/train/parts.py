"""The three parts of a run's data as sequences, made from its config."""

from dataclasses import dataclass
from pathlib import Path

from nwavesdk.data import (
    Recordings,
    Series,
    Standard,
    fit_hold,
    fit_length,
    load_digits,
    load_wav_folder,
    stratified_split,
)
from nwavesdk.train.config import DataConfig, Facts, RunConfig

__all__ = ["Parts", "load_parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """What a run learns from, selects on and reports.

    Args:
        train: To learn from.
        val: To select on.
        test: To report once.
        standard: The scale of the features, from the training part.
    """

    train: Series
    val: Series
    test: Series
    standard: Standard


def load_parts(config: RunConfig) -> tuple[RunConfig, Parts]:
    """Read the recordings, part them, bring them to one scale and one length.

    Returns:
        The config with everything filled in that follows from the data, and the parts.

    Raises:
        ValueError: The source cannot be used, or its content is not that of the config's facts.
        ModuleNotFoundError: An extra is missing.
    """
    recordings = _load(config.data)
    fingerprint = recordings.fingerprint
    if config.facts is not None and config.facts.fingerprint != fingerprint:
        raise ValueError(
            f"The data of {config.data.source} have changed since the run began "
            f"(got {fingerprint[:12]}, expected {config.facts.fingerprint[:12]}): "
            "restore them or start a new run."
        )
    if config.data.limit is not None:
        recordings = recordings.limit(config.data.limit)
    split = stratified_split(recordings)
    length = config.data.length or fit_length(split.train)
    hold = config.data.hold or fit_hold(length)
    standard = Standard.fit(split.train)
    train, val, test = (Series.of(part, standard, length, hold) for part in split)
    facts = Facts(
        classes=recordings.classes,
        n_features=recordings.n_features,
        fingerprint=fingerprint,
        recordings=(len(train), len(val), len(test)),
    )
    data = config.data.model_copy(update={"length": length, "hold": hold, "sample_rate": recordings.sample_rate})
    return config.model_copy(update={"data": data, "facts": facts}), Parts(train, val, test, standard)


def _load(data: DataConfig) -> Recordings:
    if data.source == "digits":
        return load_digits()
    return load_wav_folder(
        Path(data.source), sample_rate=data.sample_rate, bands=data.bands, window=data.window, hop=data.hop
    )
