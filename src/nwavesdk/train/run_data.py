"""The data of a run: its recordings as sequences in three sets, and their batches."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from nwavesdk.chip import Profile, load_profile
from nwavesdk.data import (
    Batch,
    Channels,
    Frames,
    Indices,
    Recordings,
    Series,
    Split,
    Standard,
    fit_hold,
    fit_length,
    generate,
    load_digits,
    load_wav_folder,
    split_recordings,
)
from nwavesdk.data.batches import LengthOrder, batches_of
from nwavesdk.data.recordings import hash_order
from nwavesdk.train.config import RunConfig
from nwavesdk.train.network import stream_seed
from nwavesdk.train.sections import ChipConfig, Facts

__all__ = ["Loaders", "RunData", "load_run_data"]

# Fields of the config that decide how a folder of sound is read.
SOUND_FIELDS = ("bands", "sample_rate", "window", "hop", "level", "on_error", "max_seconds")

# Number of skipped files that a warning names.
MOST_NAMED = 5


@dataclass(frozen=True, eq=False)
class RunData(Split[Series]):
    """The training, validation and test set of a run.

    Args:
        standard: The scale of the features, from the training set.
    """

    standard: Standard


def load_run_data(config: RunConfig) -> tuple[RunConfig, RunData]:
    """Read the recordings, split them and bring them to one scale and one length.

    Returns:
        The config, completed by what follows from the data, and the data.

    Raises:
        ValueError: If the source cannot be used, or its content differs from the config's facts.
        ModuleNotFoundError: If an extra is missing.
    """
    if config.chip is not None:
        return _load_chip_data(config, config.chip)
    recordings = _read_recordings(config)
    _warn_of_skipped(recordings.skipped)
    _check_unchanged(config, recordings.fingerprint)
    if config.data.limit is not None:
        try:
            recordings = recordings.limit(config.data.limit)
        except ValueError as error:
            raise ValueError(f"data.{error}") from None
    split, split_by = split_recordings(recordings, config.data.split)  # type: ignore[arg-type]
    pads = config.data.padding == "zeros"
    length = config.data.length
    if length is None and pads:
        length = fit_length(split.train)
    hold = config.data.hold or fit_hold(length or fit_length(split.train))
    standard = Standard.fit(split.train)
    series = split.map(lambda part: Series(part, standard, hold, length, pads))
    facts = Facts(
        classes=recordings.classes,
        n_features=recordings.n_features,
        fingerprint=recordings.fingerprint,
        recordings=_counts(series),
        split_by=split_by,
        skipped=recordings.skipped,
    )
    completed: dict[str, Any] = {
        "length": length,
        "hold": hold,
        "sample_rate": recordings.sample_rate,
        "split": split_by,
    }
    data_config = config.data.model_copy(update=completed)
    config = config.model_copy(update={"data": data_config, "facts": facts})
    return config, RunData(series.train, series.val, series.test, standard)


def _read_recordings(config: RunConfig) -> Recordings:
    data = config.data
    if data.source == "digits":
        if data.split == "speaker":
            raise ValueError(
                "data.split: the spoken digits do not name their speakers: leave --split out."
            )
        if config.facts is None:
            _check_left_out(config, "data", SOUND_FIELDS, "the spoken digits are features already")
        return load_digits()
    return load_wav_folder(
        Path(data.source),
        sample_rate=data.sample_rate,
        bands=data.bands,
        window=data.window,
        hop=data.hop,
        level=data.level,
        on_error=data.on_error,
        max_seconds=data.max_seconds,
    )


def _check_left_out(config: RunConfig, section: str, names: Sequence[str], reason: str) -> None:
    """Reject choices that have no effect in a run."""
    given = getattr(config, section)
    for name in names:
        got = getattr(given, name)
        if got != type(given).model_fields[name].default:
            raise ValueError(f"{section}.{name}: {reason}, got {got!r}: leave the option out.")


def _warn_of_skipped(skipped: Sequence[tuple[str, str]]) -> None:
    """Give one warning for all files that were left out; the config of the run lists them."""
    if skipped:
        first = "; ".join(f"{file} {fault}" for file, fault in skipped[:MOST_NAMED])
        more = "; ..." if len(skipped) > MOST_NAMED else ""
        warnings.warn(f"skipped {len(skipped)} files of the data: {first}{more}", stacklevel=3)


def _check_unchanged(config: RunConfig, fingerprint: str) -> None:
    if config.facts is not None and config.facts.fingerprint != fingerprint:
        raise ValueError(
            f"The data of {config.data.source} have changed since the run began "
            f"(got {fingerprint[:12]}, expected {config.facts.fingerprint[:12]}): "
            "restore them or start a new run."
        )


def _counts(series: Split[Series]) -> tuple[int, int, int]:
    return len(series.train), len(series.val), len(series.test)


def _load_chip_data(config: RunConfig, chip: ChipConfig) -> tuple[RunConfig, RunData]:
    """As `load_run_data`, through the filter bank of a chip."""
    profile = (config.facts and config.facts.chip) or load_profile(chip.profile)
    channels = _filter_recordings(config, profile)
    _warn_of_skipped(channels.skipped)
    _check_unchanged(config, channels.fingerprint)
    n_channels = channels.x.shape[2]
    if config.facts is None:
        _check_neuron_count(config, profile, n_channels, len(channels.classes))
    labels = channels.y.astype(np.int64)
    limit = config.data.limit
    split = channels.split.map(
        lambda chosen: _limit_per_class(chosen, labels, channels.keys, limit)
    )
    gain = chip.gain or _fit_gain(channels.x[split.train])
    # The gain is the scale of all channels: (x - 0) / (1 / gain).
    standard = Standard(
        mean=np.zeros(n_channels, np.float32),
        deviation=np.full(n_channels, 1 / gain, np.float32),
    )
    recordings = Recordings(
        tuple(channels.x), labels, channels.classes, channels.keys, channels.fingerprint
    )
    series = split.map(lambda chosen: Series(recordings.take(chosen), standard))
    facts = Facts(
        classes=channels.classes,
        n_features=n_channels,
        fingerprint=channels.fingerprint,
        recordings=_counts(series),
        split_by=channels.split_by,
        skipped=channels.skipped,
        profile=profile.to_json(),
    )
    bits = chip.bits or profile.count("weight_bits")
    completed = {
        "data": config.data.model_copy(update={"split": channels.split_by}),
        "chip": chip.model_copy(update={"gain": gain, "bits": bits}),
        "facts": facts,
    }
    return (
        config.model_copy(update=completed),
        RunData(series.train, series.val, series.test, standard),
    )


def _filter_recordings(config: RunConfig, profile: Profile) -> Channels:
    if config.data.source == "digits":
        raise ValueError(
            "a chip needs sound, but the spoken digits are features: "
            "give --data FOLDER with .wav files."
        )
    if config.data.sample_rate is None:
        raise ValueError(
            "data.sample_rate: a run for a chip needs the sample rate of the sound [Hz], got None."
        )
    if config.facts is None:
        _check_chip_allows(config)
    return generate(config.channel_choices(profile))


def _check_chip_allows(config: RunConfig) -> None:
    """Reject choices that have no meaning for a chip."""
    reason = "the chip's filters and neurons determine it"
    _check_left_out(config, "data", ("bands", "length", "hold", "window", "hop"), reason)
    _check_left_out(config, "net", ("threshold",), reason)


def _check_neuron_count(config: RunConfig, profile: Profile, n_inputs: int, n_classes: int) -> None:
    """Reject a net with more neurons than the chip; `nwave map` checks that layers fit cores."""
    sizes = (n_inputs, *config.net.hidden, n_classes * config.net.population)
    available = sum(profile.cores)
    if sum(sizes) > available:
        raise ValueError(
            f"net: {' + '.join(map(str, sizes))} neurons (front end, hidden, {n_classes} "
            f"populations) do not fit on {profile.name}: got {sum(sizes)}, expected at most "
            f"{available}: lower --hidden or --population."
        )


def _fit_gain(x: Frames) -> float:
    """The gain with which one in a hundred values is above 1, to three digits."""
    high = float(np.quantile(x, 0.99))
    if high <= 0:
        raise ValueError("the training set is silent: there is nothing to amplify.")
    return float(f"{1 / high:.3g}")


def _limit_per_class(
    members: Indices, labels: Indices, keys: tuple[str, ...], limit: int | None
) -> Indices:
    """Recordings of a set, about equally many per class, so that all sets have about `limit`."""
    if limit is None:
        return members
    classes = np.unique(labels)
    per_class = max(1, round(limit * len(members) / len(keys) / len(classes)))
    chosen = [hash_order(keys, members[labels[members] == label])[:per_class] for label in classes]
    return np.sort(np.concatenate(chosen))


class Loaders(LightningDataModule):
    """The training and the validation set in batches.

    Args:
        data: The data.
        batch_size: Recordings per batch.
        seed: The run's seed.
        val_batch_size: Recordings per batch of the validation set. [`batch_size`]
        workers: Processes that make batches.
    """

    def __init__(
        self,
        data: RunData,
        batch_size: int,
        seed: int,
        val_batch_size: int | None = None,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.data = data
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size or batch_size
        self.seed = seed
        self.workers = workers

    def train_dataloader(self) -> DataLoader[Batch]:
        """Every recording once, in an order that is a function of the seed and the epoch."""
        trainer = self.trainer
        assert trainer is not None
        order = LengthOrder(
            self.data.train,
            self.batch_size,
            stream_seed(self.seed, "order"),
            trainer.world_size,
            trainer.global_rank,
        )
        return batches_of(self.data.train, self.batch_size, order, self.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation set in its order."""
        return batches_of(self.data.val, self.val_batch_size, workers=self.workers)
