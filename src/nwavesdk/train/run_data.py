"""The three parts of a run's data as sequences, made from its config.

Batches of a run: shuffled by seed and epoch for training, in order for everything else.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from nwavesdk.chip import Profile, load_profile
from nwavesdk.data import (
    Frames,
    Indices,
    NWaveDataloaderConfig,
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
from nwavesdk.data.recordings import hash_order
from nwavesdk.train.config import ChipConfig, DataConfig, Facts, RunConfig
from nwavesdk.train.network import stream

__all__ = ["Loaders", "Parts", "load_parts", "tensors"]


@dataclass(frozen=True, eq=False)
class Parts(Split[Series]):
    """The training, validation and test set of a run.

    Args:
        standard: The scale of the features, from the training set.
    """

    standard: Standard


def load_parts(config: RunConfig) -> tuple[RunConfig, Parts]:
    """Read the recordings, part them, bring them to one scale and one length.

    Returns:
        The config with everything filled in that follows from the data, and the parts.

    Raises:
        ValueError: The source cannot be used, or its content is not that of the config's facts.
        ModuleNotFoundError: An extra is missing.
    """
    if config.chip is not None:
        return _for_a_chip(config, config.chip)
    recordings = _load(config.data)
    fingerprint = recordings.fingerprint
    _check_same(config, fingerprint)
    if config.data.limit is not None:
        recordings = recordings.limit(config.data.limit)
    split, split_by = split_recordings(recordings, config.data.split)
    length = config.data.length or fit_length(split.train)
    hold = config.data.hold or fit_hold(length)
    standard = Standard.fit(split.train)
    train, val, test = split.map(lambda part: Series.of(part, standard, length, hold))
    facts = Facts(
        classes=recordings.classes,
        n_features=recordings.n_features,
        fingerprint=fingerprint,
        recordings=(len(train), len(val), len(test)),
        split_by=split_by,
    )
    filled = {
        "length": length,
        "hold": hold,
        "sample_rate": recordings.sample_rate,
        "split": split_by,
    }
    data = config.data.model_copy(update=filled)
    return config.model_copy(update={"data": data, "facts": facts}), Parts(
        train, val, test, standard
    )


def _load(data: DataConfig) -> Recordings:
    if data.source == "digits":
        if data.split == "speaker":
            raise ValueError(
                "data.split: the spoken digits do not tell who speaks: leave --split out."
            )
        return load_digits()
    return load_wav_folder(
        Path(data.source),
        sample_rate=data.sample_rate,
        bands=data.bands,
        window=data.window,
        hop=data.hop,
    )


def _check_same(config: RunConfig, fingerprint: str) -> None:
    if config.facts is not None and config.facts.fingerprint != fingerprint:
        raise ValueError(
            f"The data of {config.data.source} have changed since the run began "
            f"(got {fingerprint[:12]}, expected {config.facts.fingerprint[:12]}): "
            "restore them or start a new run."
        )


def _for_a_chip(config: RunConfig, chip: ChipConfig) -> tuple[RunConfig, Parts]:
    """The recordings of a folder as a chip's filter bank hears them, by speaker where names tell who speaks."""
    if config.data.source == "digits":
        raise ValueError(
            "a chip hears sound, and the spoken digits come as features: give --data FOLDER with wavs."
        )
    if config.data.sample_rate is None:
        raise ValueError(
            "data.sample_rate: a run for a chip needs the rate of the sound [Hz], got None."
        )
    profile = (config.facts.chip if config.facts is not None else None) or load_profile(
        chip.profile
    )
    if config.facts is None:
        _check_unused(config)
    heard = generate(
        NWaveDataloaderConfig(
            config.data.source,
            sample_rate=config.data.sample_rate,
            recording_duration_s=chip.duration,
            sim_time_s=config.net.dt,
            level="peak",
            split=config.data.split,
            chip=profile,
        )
    )
    _check_same(config, heard.fingerprint)
    if config.facts is None:
        _check_room(config, profile, heard.x.shape[2], len(heard.classes))
    labels = heard.y.astype(np.int64)
    split = heard.split.map(
        lambda indices: _limited(indices, labels, heard.keys, config.data.limit)
    )
    gain = chip.gain or _gain(heard.x[split.train])
    standard = Standard(
        np.zeros(heard.x.shape[2], np.float32), np.full(heard.x.shape[2], 1 / gain, np.float32)
    )
    train, val, test = split.map(
        lambda indices: Series(standard.apply(heard.x[indices]), labels[indices])
    )
    facts = Facts(
        classes=heard.classes, n_features=heard.x.shape[2], fingerprint=heard.fingerprint,
        recordings=(len(train), len(val), len(test)), split_by=heard.split_by, profile=profile.to_json(),
    )  # fmt: skip
    chosen = chip.model_copy(
        update={"gain": gain, "bits": chip.bits or profile.count("weight_bits")}
    )
    data = config.data.model_copy(update={"split": heard.split_by})
    return config.model_copy(update={"data": data, "chip": chosen, "facts": facts}), Parts(
        train, val, test, standard
    )


def _check_unused(config: RunConfig) -> None:
    """Refuse choices that a chip leaves no room for."""
    own, default = RunConfig(data=config.data, net=config.net), RunConfig()
    names = [("data", name) for name in ("bands", "length", "hold", "window", "hop")] + [
        ("net", "threshold")
    ]
    for section, name in names:
        got, expected = (getattr(getattr(whole, section), name) for whole in (own, default))
        if got != expected:
            raise ValueError(
                f"{section}.{name}: the chip's own filters and neurons decide it, got {got!r}, expected {expected!r}: "
                "leave the option out, or --chip."
            )


def _check_room(config: RunConfig, profile: Profile, n_inputs: int, n_classes: int) -> None:
    """Refuse a net with more neurons than the chip has; whether its layers fit the cores, `nwave map` says."""
    sizes = (n_inputs, *config.net.hidden, n_classes * config.net.population)
    if sum(sizes) > sum(profile.cores):
        raise ValueError(
            f"net: {' + '.join(map(str, sizes))} neurons (front end, hidden, {n_classes} populations) do not fit on "
            f"{profile.name}: got {sum(sizes)}, expected at most {sum(profile.cores)}: lower --hidden or --population."
        )


def _gain(x: Frames) -> float:
    """So that one in a hundred values is above 1; rounded, as an amplifier has steps."""
    loud = float(np.quantile(x, 0.99))
    if loud <= 0:
        raise ValueError("the training part is silent: there is nothing to amplify.")
    return float(f"{1 / loud:.3g}")


def _limited(part: Indices, labels: Indices, keys: tuple[str, ...], limit: int | None) -> Indices:
    """Recordings of a part, so that all parts together keep about `limit` and each class about as many."""
    if limit is None:
        return part
    share = max(1, round(limit * len(part) / len(keys) / len(np.unique(labels))))
    kept = [hash_order(keys, part[labels[part] == label])[:share] for label in np.unique(labels)]
    return np.sort(np.concatenate(kept))


Batches = DataLoader[tuple[Tensor, ...]]


class Loaders(LightningDataModule):
    """The training and the validation part in batches; the test part is not its business.

    Args:
        parts: The data.
        batch_size: Recordings a batch.
        seed: The run's seed.
        val_batch_size: Recordings a batch of the validation part; where each batch hears another chip, few make many
            chips. [as in training]
    """

    def __init__(
        self, parts: Parts, batch_size: int, seed: int, val_batch_size: int | None = None
    ) -> None:
        super().__init__()
        self.parts = parts
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size or batch_size
        self.seed = seed

    def train_dataloader(self) -> Batches:
        """Every recording once, in an order that is a function of the seed and the epoch."""
        data = tensors(self.parts.train)
        trainer = self.trainer
        assert trainer is not None
        sampler: DistributedSampler[int] = DistributedSampler(
            data,
            num_replicas=trainer.world_size,
            rank=trainer.global_rank,
            seed=stream(self.seed, "order"),
        )
        return DataLoader(data, self.batch_size, sampler=sampler)

    def val_dataloader(self) -> Batches:
        """The validation part as it is."""
        return DataLoader(tensors(self.parts.val), self.val_batch_size)


def tensors(series: Series) -> TensorDataset:
    """A part as tensors: input `[B, T, F]` and labels `[B]`."""
    return TensorDataset(torch.from_numpy(series.x), torch.from_numpy(series.labels))
