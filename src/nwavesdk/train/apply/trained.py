"""A trained run without its data: its net, and its predictions for recordings.

Design requirements:

- Only `config.json` and `model.safetensors` are read, and `result.json` of a run that detects.
- A recording becomes the input of the net as in training, and `nwave eval` makes the same
  prediction for a recording of the run.
- `predict` and `stream` give the same outputs for a sound, bit for bit, where a stream is possible.
- The memory of a stream, and of a plain stack of layers (`--net lif` or a chip), does not grow with
  the length of a recording, apart from its input and its outputs: the net runs in blocks of steps
  and keeps its states. All other nets run each batch in one call.
- `adapt` runs all its recordings in one call.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nwavesdk.data import Standard
from nwavesdk.data.decoding import file_blocks
from nwavesdk.data.features import (
    ChipFeatures,
    FeatureOptions,
)
from nwavesdk.data.source import Sound
from nwavesdk.internal.files import printable
from nwavesdk.metrics import Detection
from nwavesdk.train.apply.batches import batch_of, predict_recordings
from nwavesdk.train.apply.blocks import adapted_net
from nwavesdk.train.apply.decision import Decision
from nwavesdk.train.apply.live import Detector, ScoreStream
from nwavesdk.train.apply.predictions import Prediction
from nwavesdk.train.apply.recordings import RecordingLike, read_recordings
from nwavesdk.train.apply.trained_net import TrainedNet
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.config.fields import MAX_SECONDS
from nwavesdk.train.config.net_file import NetPage
from nwavesdk.train.data.inputs import features_of, net_input_of
from nwavesdk.train.fit.model_file import load_model
from nwavesdk.train.fit.network import RunNet, network_of_run
from nwavesdk.train.fit.objective import TrainingTask
from nwavesdk.train.fit.seeds import use_threads
from nwavesdk.train.fit.tasks import task_of
from nwavesdk.train.run_folder import NetChoice, RunFolder, match_page, reading_run_file

__all__ = ["TrainedRun", "load"]


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TrainedRun(TrainedNet):
    """A trained run, without its recordings; `load` reads it.

    `TrainedNet` has its attributes.

    Example:
        ```python
        run = load("runs/words")
        for prediction in run.predict(["new/1.wav", "new/2.wav"]):
            print(prediction.key, prediction.class_name, prediction.ranking)
        ```
    """

    @classmethod
    def of(
        cls,
        config: CompletedConfig,
        net: RunNet,
        task: TrainingTask,
        standard: Standard,
        *,
        decision: Decision | None = None,
        max_seconds: float | None = None,
        name: str = "The run",
    ) -> "TrainedRun":
        """A run from its config, its trained net, its task and the scale of its features.

        Args:
            config: The config.
            net: The net.
            task: The task, with the scale of its targets.
            standard: The scale of the features.
            decision: See `TrainedRun`.
            max_seconds: See `TrainedRun`. [the limit of the config]
            name: See `TrainedRun`.
        """
        features = features_of(config, config.facts.chip)
        if isinstance(features, FeatureOptions):
            features = features.features(config.data.source_kind)
        limit: float = getattr(config.data, "max_seconds", MAX_SECONDS)
        return cls(
            config=config,
            net=net.eval(),
            task=task,
            features=features,
            input=net_input_of(config, standard),
            max_seconds=max_seconds or limit,
            decision=decision,
            name=name,
        )

    @classmethod
    def read(
        cls, folder: RunFolder, config: CompletedConfig, *, mismatch: bool = False, **options: Any
    ) -> "TrainedRun":
        """A finished run from its files.

        Args:
            folder: The folder of the run.
            config: Its config, with the present file of its net.
            mismatch: See `network_of_run`.
            options: `max_seconds` and `name`, see `of`.

        Raises:
            ValueError: If a file is missing or damaged.
        """
        net = network_of_run(config, deployed=True, mismatch=mismatch)
        standard, targets = load_model(folder.model, net, folder.identity)
        task = task_of(config).scaled(targets)
        decision = None
        if config.task.name == "detect":
            with reading_run_file(folder.result, "has no decision"):
                decision = Decision.of(folder.read_result()["decision"])
        return cls.of(config, net, task, standard, decision=decision, **options)

    def __repr__(self) -> str:
        n_parameters = sum(parameter.numel() for parameter in self.net.parameters())
        return (
            f"TrainedRun {self.name}: {self.task.name} of {self.kind}, {len(self.classes)} "
            f"classes, {n_parameters:,} parameters"
        )

    def predict(
        self,
        recordings: RecordingLike | Sequence[RecordingLike] = (),
        skipped: list[tuple[str, str]] | None = None,
        *,
        on_error: Literal["raise", "skip"] = "raise",
        spikes: bool = False,
    ) -> list[Prediction]:
        """The predictions of the net for recordings.

        Args:
            recordings: Paths of files and folders, and recordings in memory, one or several. A path
                may be anything that `nwave train --data` takes, or a folder without classes.

                In memory, a sound is samples `[n]` at the run's sample rate, or a pair of samples
                and rate. A series is `[T, *features]`; the columns of a table with names, such as a
                DataFrame, must be in the order of the run. An image has values from 0 to 1 and the
                shape of the images of the run. Events are `Events`.

                For a run that generates a pattern, pass no recordings.
            skipped: Receives name and fault of each skipped file.
            on_error: Whether a file that cannot be used is an error (`"raise"`), or is skipped with
                a warning (`"skip"`).
            spikes: Whether to return the output spikes.

        Returns:
            The predictions, in the order of the recordings.

        Raises:
            ValueError: If a recording cannot be used, or if `spikes` is True and the outputs of the
                net are membranes or scores.
            TypeError: If a recording is none of these.
        """
        if spikes and self.task.is_readout:
            raise ValueError(
                "The outputs of this net are membranes or scores, which do not spike: call "
                "`predict` without `spikes`."
            )
        frames = read_recordings(self, recordings, skipped, on_error)
        return list(predict_recordings(self, frames, spikes=spikes))

    def adapt(
        self,
        recordings: RecordingLike | Sequence[RecordingLike],
        skipped: list[tuple[str, str]] | None = None,
        *,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> "TrainedRun":
        """The run adapted to a new speaker, microphone or sensor by some of its recordings.

        The recordings need no classes: the batch norms of the net adapt to their mean and variance.
        n recordings have the weight n / (n + 20); the statistics before have the remaining weight.
        All classes must be among the recordings, about as often as they will occur in use. The
        files of the run do not change.

        Args:
            recordings: See `predict`; at least two, which the net runs in one call. A file that is
                passed twice counts once.
            skipped: See `predict`.
            on_error: See `predict`.

        Returns:
            A copy of the run with the adapted net.

        Raises:
            ValueError: If a recording cannot be used, if there are fewer than two, if the run
                generates a pattern, or if the net has no batch norm that can adapt.

        Example:
            ```python
            for_ann = load("runs/words").adapt("ann")
            for_ann.predict("ann/new.wav")[0].class_name
            ```
        """
        if self.task.name == "pattern":
            raise ValueError(f"{self.name} cannot adapt: it generates a pattern and has no input.")

        framed = read_recordings(self, recordings, skipped, on_error)
        by_name = {recording.key: recording for recording in framed}
        batch = batch_of(list(by_name.values()), self.input)
        with use_threads(self.config.machine.threads):
            return replace(self, net=adapted_net(self.net, batch))

    def detect(self, sound: RecordingLike) -> list[Detection]:
        """The events in a sound of any length, in the order of time.

        Args:
            sound: The path of a wav, a FLAC or an Ogg file; samples `[n]` at the run's sample rate;
                or a pair of samples and rate. Memory does not grow with the length of a file.

        Raises:
            ValueError: If the sound cannot be used; see also `detector`.

        Example:
            ```python
            for name, time, score in load("runs/words").detect("kitchen.wav"):
                print(f"{time:.1f} s: {name}")
            ```
        """
        if isinstance(sound, str | Path):
            return list(self.detections(file_blocks(Path(sound))))
        pair: Any = sound if isinstance(sound, tuple) else (sound, self.sample_rate)
        return list(self.detections([pair]))

    def detections(self, blocks: Iterable[Sound]) -> Iterator[Detection]:
        """The events in a sound as its blocks arrive, such as of a microphone.

        Args:
            blocks: Mono samples with full scale 1, and their rate [Hz], the same for all.

        Raises:
            ValueError: See `detector`.
        """
        detector = None
        for samples, rate in blocks:
            detector = detector or self.detector(rate)
            yield from detector.push(samples)
        if detector is not None:
            yield from detector.finish()

    def detector(self, sample_rate: int | None = None) -> Detector:
        """A detector for a sound that begins now and comes in pieces; see `stream`.

        Args:
            sample_rate: Rate of the sound [Hz]. [the rate of the run]

        Raises:
            ValueError: If the run does not detect events, or has no `stream`.
        """
        if self.decision is None:
            raise ValueError(
                f"{self.name} was trained for the task {self.task.name}, expected a run that "
                "detects events: train with `nwave train --task detect`."
            )
        return Detector(self.stream(sample_rate), self.decision)

    def stream(self, sample_rate: int | None = None) -> ScoreStream:
        """The outputs of the net for a sound that begins now and comes in pieces.

        Args:
            sample_rate: Rate of the sound [Hz]. If it differs from the rate of the run, the sound
                is resampled, which delays the outputs by some 40 to 160 ms. [the rate of the run]

        Raises:
            ValueError: If the rate is implausible, if the run was not trained on sound, if it
                scales each recording by its loudest sample, its mean or its deviation, or if its
                net comes from a file and needs whole recordings.

        Example:
            ```python
            stream = load("runs/words").stream()
            values, times = stream.push(np.zeros(1600, np.float32))  # the next 100 ms
            ```
        """
        rate = self.sample_rate if sample_rate is None else sample_rate
        if not self.scales_past_only:
            is_filtered = isinstance(self.features, ChipFeatures)
            option = "level as_is" if is_filtered else "level running"
            raise ValueError(
                f"{self.name} scales each recording by its loudest sample, its mean or its "
                "deviation, known only at the end of the sound (got level "
                f"{getattr(self.config.data, 'level', None)}, center {self.input.center}, "
                f"standardize {self.input.standardize}): train with `nwave train --{option}`."
            )

        if self.block_steps is None:
            raise ValueError(
                f"{self.name} has a net from a file that gives other outputs in blocks than in one "
                "call: its modules must not look at later steps, and keep their states over calls "
                "(docs/nets.md)."
            )
        return ScoreStream(self, rate)


def load(
    path: str | Path, net: NetChoice | None = None, *, max_seconds: float | None = None
) -> TrainedRun:
    """Load a finished run of `nwave train`, without its recordings.

    Args:
        path: The folder of the run, or the name of a packaged run, if no file has this name:
            `"wake-words"` detects the words alexa, computer and jarvis.
        net: The file that builds its net, `"FILE.py:build"`, for a run with `--net`.
        max_seconds: Length above which a sound is an error [s]. [the limit of the run]

    Raises:
        ValueError: If the run is missing, damaged or not finished, or another file built its net.
        ModuleNotFoundError: If the extra `train` is missing.

    Example:
        >>> load("runs/words")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: runs/words holds no run (no config.json): ...

        ```python
        run = nwavesdk.train.load("runs/words")  # after `nwave train --data words --out runs/words`
        run.predict("new/1.wav")[0].class_name
        nwavesdk.train.load("wake-words").detect("kitchen.wav")
        ```
    """
    folder = RunFolder.find(path)
    config = folder.read_config()
    if folder.is_packaged:
        # A test compares its outputs, so its page may have changed, such as a comment in it.
        config = config.model_copy(update={"page": NetPage.parse(config.net.name)})
    config = match_page(config, net, folder.path)
    return TrainedRun.read(folder, config, max_seconds=max_seconds, name=printable(path))
