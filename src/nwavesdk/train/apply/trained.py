"""A trained run without its data: its net, and what it predicts about recordings.

Design requirements:

- Only `config.json` and `model.safetensors` are read.
- A recording becomes the input of the net as in training, and the prediction for a recording of the
  run is that of `nwave eval`.
- Memory does not grow with the length of a recording, apart from its samples and its predictions:
  the net runs in blocks of steps and keeps its states. A net that the user built runs in one call.
  `adapt` holds the inputs of all its recordings, and runs each of them in one call.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from nwavesdk.data import FrontEnd, LogMel, Standard
from nwavesdk.data.decoding import HIGHEST_RATE, LOWEST_RATE
from nwavesdk.data.features import (
    ChipFeatures,
    EventFeatures,
    FeatureOptions,
    Features,
    LogMelFeatures,
    NoiseFeatures,
)
from nwavesdk.data.formats import ALL_COLUMNS
from nwavesdk.data.readers.series import SeriesOptions
from nwavesdk.data.source import Item, Kind, Sample
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.files import printable
from nwavesdk.train.apply.adaptation import LEAST_RECORDINGS, adapted_net, check_adaptable
from nwavesdk.train.apply.blocks import NetInput, Predictor
from nwavesdk.train.apply.given import Given, GivenReader, GivenRecording, as_list
from nwavesdk.train.apply.live import LiveInput, rate_of
from nwavesdk.train.apply.predictions import Prediction
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.facts import ArithmeticConfig, Facts
from nwavesdk.train.config.fields import MAX_SECONDS, is_table
from nwavesdk.train.data.inputs import (
    features_of,
    input_options,
    scale_of_kind,
    series_options,
    warn_of_skipped,
)
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.model_file import load_model
from nwavesdk.train.fit.net_file import NetChoice, match_page
from nwavesdk.train.fit.network import RunNet, network_of_run
from nwavesdk.train.fit.tasks import TrainingTask, task_of
from nwavesdk.train.run_folder import RunFolder

__all__ = ["LiveRun", "TrainedRun", "load"]


@dataclass(frozen=True, eq=False, repr=False)
class TrainedRun:
    """A trained run, without its recordings; `load` reads it.

    Attributes:
        net: The trained net in `eval()`; for a chip, the chip as designed.
        task: What the net has learned, with the scale of its targets.
        classes: Name of each class; none for values.
        kind: What a recording is.
        features: How a recording becomes frames.
        net_input: How frames become the input of the net.
        steps: Time steps of a recording of the run: of each one, if they are padded to one length;
            otherwise, nine of ten in the training set have at most these. None in earlier runs.
        pads: Whether a shorter recording is padded to `steps`: for a chip and with
            `--padding zeros`.
        dt: Time step of the net [s].
        max_seconds: Length above which a sound is an error [s].
        arithmetic: Threads and crossovers of the run, which decide the last bits of sums; None for
            those of the process.
        name: The path of its folder, for messages.
        patterns: Name and frames of each pattern that the net generates.
        feature_names: Names of the features of a series in the data of the run; empty if unknown.
        split_table: The table of sets of the run (`--split FILE.csv`), which is not a recording.
        series: What is read of the files of a series.

    Example:
        ```python
        run = load("runs/words")
        for prediction in run.predict(["new/1.wav", "new/2.wav"]):
            print(prediction.key, prediction.class_name, prediction.ranking)
        ```
    """

    net: RunNet
    task: TrainingTask
    classes: tuple[str, ...]
    kind: Kind
    features: Features
    net_input: NetInput
    steps: int | None
    pads: bool
    dt: float
    max_seconds: float
    arithmetic: ArithmeticConfig | None = None
    name: str = "The run"
    patterns: tuple[tuple[str, int], ...] = ()
    feature_names: tuple[str, ...] = ()
    split_table: Path | None = None
    series: SeriesOptions = ALL_COLUMNS

    def __repr__(self) -> str:
        n_parameters = sum(parameter.numel() for parameter in self.net.parameters())
        outputs = f"{len(self.classes)} classes" if self.classes else "values"
        return (
            f"TrainedRun {self.name}: {self.task.name} of {self.kind}, {outputs}, "
            f"{n_parameters:,} parameters"
        )

    @classmethod
    def open(cls, path: str | Path, net: NetChoice | None = None) -> "TrainedRun":
        """As `load`."""
        return load(path, net)

    def predict(
        self,
        recordings: GivenRecording | Sequence[GivenRecording] = (),
        *,
        on_error: Literal["raise", "skip"] = "raise",
        spikes: bool = False,
    ) -> list[Prediction]:
        """What the net predicts about recordings.

        Args:
            recordings: Paths of files and folders, and recordings in memory, one or several. A path
                may be all that `nwave train --data` takes, and a folder without classes. In memory,
                a sound is samples `[n]` at the run's sample rate, or samples and their rate; a
                series `[T, *features]`, an image of values from 0 to 1 with the shape of those of
                the run, and `Events`. If a series is a table with names of columns, such as a
                DataFrame, they must be in the order of those of the run. Nothing generates the
                pattern of a run that learned one.
            on_error: Whether a file that cannot be used is an error (`"raise"`), or is left out
                with a warning (`"skip"`).
            spikes: Whether to return the output spikes.

        Returns:
            The predictions, in the order of the recordings.

        Raises:
            ValueError: If a recording cannot be used, or if the outputs of the net are membranes
                and `spikes` are asked for.
            TypeError: If a recording is none of these.
        """
        skipped: list[tuple[str, str]] = []
        predictions = list(self.predictions(recordings, skipped, on_error=on_error, spikes=spikes))
        warn_of_skipped(skipped)
        return predictions

    def adapt(
        self,
        recordings: GivenRecording | Sequence[GivenRecording],
        skipped: list[tuple[str, str]] | None = None,
        *,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> "TrainedRun":
        """The run for a new speaker, microphone or sensor, from some of its recordings.

        They need no classes: the batch norms of the net take their mean and variance. n recordings
        count n / (n + 20), and the training set, or what the run has adapted to before, counts for
        the rest. All classes must be among them, about as often as they will occur. The files of
        the run do not change.

        Args:
            recordings: See `predict`; at least two, whose inputs are in memory together. A file
                that is given twice counts once.
            skipped: Receives name and fault of each file that is left out; without it, they give a
                warning.
            on_error: See `predict`.

        Returns:
            The same run with another net.

        Raises:
            ValueError: If a recording cannot be used, if there are fewer than two, or if the net
                has no batch norm that can adapt.

        Example:
            ```python
            for_ann = load("runs/words").adapt("ann")
            for_ann.predict("ann/new.wav")[0].class_name
            ```
        """
        if self.task.name == "pattern":
            raise ValueError(
                "This run generates a pattern and has no input to adapt to: leave the recordings "
                "out."
            )
        check_adaptable(self.net)
        left_out: list[tuple[str, str]] = []
        inputs = {
            one.key: torch.from_numpy(np.concatenate(list(self.net_input.blocks(one))))
            for one in self._reader.read(as_list(recordings), left_out, on_error)
        }
        if skipped is None:
            warn_of_skipped(left_out)
        else:
            skipped += left_out
        if len(inputs) < LEAST_RECORDINGS:
            unusable = f" and {len(left_out)} that cannot be used" if left_out else ""
            raise ValueError(
                f"{self.name} needs at least {LEAST_RECORDINGS} recordings to adapt to, got "
                f"{len(inputs)}{unusable}: give a folder or several files, about as many of each "
                "class."
            )
        with use_arithmetic(self.arithmetic):
            net = adapted_net(self.net, list(inputs.values()))
        return replace(self, net=net)

    def predictions(
        self,
        recordings: GivenRecording | Sequence[GivenRecording],
        skipped: list[tuple[str, str]],
        *,
        on_error: Literal["raise", "skip"] = "raise",
        spikes: bool = False,
    ) -> Iterator[Prediction]:
        """`predict` for more recordings than the memory holds: one batch of them is in it.

        Args:
            recordings: See `predict`.
            skipped: Receives name and fault of each file that is left out.
            on_error: See `predict`.
            spikes: See `predict`.
        """
        if spikes and self.task.output.is_readout:
            raise ValueError(
                "The outputs of this net are membranes or scores, which do not spike: leave the "
                "spikes out."
            )
        given = as_list(recordings)
        if self.task.name == "pattern":
            frames = self._pattern_frames(given)
        elif not given:
            raise ValueError("Nothing to predict: got no recording, expected files or arrays.")
        else:
            frames = self._reader.read(given, skipped, on_error)
        predictor = Predictor(
            self.net,
            self.task,
            self.net_input,
            self.classes,
            self.step_seconds,
            self.arithmetic,
            spikes,
        )
        return predictor.predict(frames)

    def _pattern_frames(self, given: list[GivenRecording]) -> Iterator[Given]:
        """The frozen noise that each pattern is generated from."""
        if given:
            raise ValueError(
                "This run generates a pattern and has no input, got recordings: leave them out."
            )
        for key, n_frames in self.patterns:
            target = np.zeros((n_frames, 1), np.float32)
            sample = Sample(target, target)  # whose length is that of the noise
            yield Given(key, self.features(Item(key, Path(key)), sample).frames)

    @property
    def _reader(self) -> GivenReader:
        rate = None if self.front_end is None else self.sample_rate
        n_features = len(self.standard.mean)
        return GivenReader(
            self.kind,
            self.features,
            n_features,
            rate,
            self.max_seconds,
            self.feature_names,
            self.split_table,
            self.series,
        )

    @property
    def front_end(self) -> FrontEnd | LogMel | None:
        """From sound to frames; None if the run was not trained on sound."""
        if isinstance(self.features, ChipFeatures):
            return FrontEnd(self.features.config)
        return self.features.log_mel if isinstance(self.features, LogMelFeatures) else None

    @property
    def sample_rate(self) -> int:
        """Rate of the sound that the run was trained on [Hz].

        Raises:
            ValueError: If it was trained on something else.
        """
        front_end = self.front_end
        if front_end is None:
            raise ValueError(f"The run was trained on {self.kind}, expected sound.")
        return rate_of(front_end)

    @property
    def frame_seconds(self) -> float | None:
        """Time from a frame to the next one [s]; None if frames have no duration."""
        if isinstance(self.features, LogMelFeatures):
            return self.features.log_mel.hop
        if isinstance(self.features, EventFeatures):
            return self.features.bin
        return self.dt if isinstance(self.features, (ChipFeatures, NoiseFeatures)) else None

    @property
    def step_seconds(self) -> float | None:
        """Time from a step of the net to the next one [s]; None if steps have no duration."""
        return None if self.frame_seconds is None else self.frame_seconds / self.net_input.hold

    @property
    def hold(self) -> int:
        """Time steps of the net for each frame."""
        return self.net_input.hold

    @property
    def standard(self) -> Standard:
        """The scale of the features."""
        return self.net_input.standard

    def stream(self, sample_rate: int | None = None) -> LiveInput:
        """The input of the net for a sound that begins now.

        Args:
            sample_rate: Rate of the sound [Hz]; another rate than that of the run is converted,
                which delays the input by some 40 to 120 ms. [the rate of the run]

        Raises:
            ValueError: If there is no sound of this rate, if the run was trained on something other
                than sound, or if it scales each recording by its loudest sample or its mean.
        """
        options = "--level as_is"
        if isinstance(self.features, LogMelFeatures):
            level = self.features.level
            options += " --no-center"
        elif isinstance(self.features, ChipFeatures):
            level = self.features.config.level
        else:
            raise ValueError(
                f"{self.name} was trained on {self.kind}, expected sound: train with `nwave train "
                "--data FOLDER --level as_is`."
            )
        if level == "peak":
            raise ValueError(
                f"{self.name} scales each recording by its loudest sample, which is known only at "
                "the end of the sound (got data.level 'peak', expected 'as_is'): train with "
                f"`nwave train {options}`."
            )
        if self.net_input.center or self.net_input.standardize:
            name = "center" if self.net_input.center else "standardize"
            raise ValueError(
                f"{self.name} scales each recording by its mean or deviation, which is known only "
                f"at the end of the sound (got data.{name} true, expected false): train with "
                f"`nwave train --no-{name}`."
            )
        limits = {"least": LOWEST_RATE, "most": HIGHEST_RATE}
        rate = self.sample_rate if sample_rate is None else sample_rate
        rate = whole_number("TrainedRun.stream", "sample_rate", rate, **limits)
        front_end = self.front_end
        assert front_end is not None
        length = self.steps // self.hold if self.pads and self.steps is not None else 1
        return LiveInput(front_end, self.standard, rate, self.hold, length)


def load(path: str | Path, net: NetChoice | None = None) -> TrainedRun:
    """Load a finished run of `nwave train`, without its recordings.

    Args:
        path: The folder of the run.
        net: The file that builds its net, `"FILE.py:build"`, for a run with `--net`.

    Raises:
        ValueError: If the run is missing, damaged or not finished, or its net was
            built by another file.
        ModuleNotFoundError: If the extra `train` is missing.

    Example:
        >>> load("runs/words")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: runs/words holds no run (no config.json): ...

        ```python
        run = nwavesdk.train.load("runs/words")  # after `nwave train --data words --out runs/words`
        run.predict("new/1.wav")[0].class_name
        ```
    """
    folder = RunFolder(Path(path))
    config = match_page(folder.read_config(), net, folder.path)
    facts = config.facts
    run_net = network_of_run(config, deployed=True)
    scales = load_model(folder.model, run_net, folder.identity)
    kind = config.data.source_kind
    features = features_of(config, facts.chip)
    pads = config.option("data.padding") == "zeros"
    split = config.option("data.split", "auto")
    return TrainedRun(
        name=printable(path),
        net=run_net.eval(),
        task=task_of(config).scaled(scales.targets),
        classes=facts.classes,
        kind=kind,
        features=features.features(kind) if isinstance(features, FeatureOptions) else features,
        net_input=NetInput(scale_of_kind(scales.standard, kind), **input_options(config)),
        steps=_steps_of(config, facts, features),
        pads=config.chip is not None or pads,
        dt=config.net.dt,
        max_seconds=config.option("data.max_seconds", MAX_SECONDS),
        arithmetic=config.arithmetic,
        patterns=facts.patterns,
        feature_names=facts.feature_names,
        split_table=Path(split) if is_table(split) else None,
        series=series_options(config),
    )


def _steps_of(config: CompletedConfig, facts: Facts, features: object) -> int | None:
    """Time steps of a recording; see `TrainedRun`."""
    if isinstance(features, ChipFeatures):
        return features.config.T
    length = config.option("data.length")
    if config.option("data.padding") == "zeros" and length is not None:
        return int(length) * int(config.option("data.hold"))
    return facts.typical_steps


LiveRun = TrainedRun
"""The name of `TrainedRun` for sound in blocks; see `TrainedRun.stream`."""
