"""The recordings of a run: one class for each kind of data, with the fields that act on it.

A new field is read in `train/data/`: by `split` (which recordings), `inputs` (their frames, and the
input of the net) or `load`. If it changes the values of frames, it is also a field of the features
in `data/features.py`. `NWaveDataGen` has its own settings, in `data/nwave_data.py`. Fields that
exclude each other are in `_conflicts` of `run_config`.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.config.fields import (
    MAX_SECONDS,
    NamedNumbers,
    Names,
    Share,
    Steps,
    absolute_path,
    config_field,
    is_table,
)

__all__ = [
    "AnyData",
    "ChannelData",
    "Data",
    "EventData",
    "FeatureData",
    "FileData",
    "FilteredData",
    "Held",
    "ImageData",
    "OwnScale",
    "PatternData",
    "SeriesData",
    "SoundData",
    "SourceKind",
    "SplitData",
]

SourceKind = Literal["sound", "series", "image", "events"]

# The values of `data.split`, apart from the name of a table.
SPLITS = ("auto", "folder", "speaker", "group", "recording")


class AnyData(FrozenModel):
    """The fields of all kinds of data.

    Attributes:
        source_kind: The kind of the recordings in the files.
    """

    source_kind: ClassVar[SourceKind] = "series"

    source: str = config_field(
        "digits",
        "Spoken digits, or a folder or file with recordings; docs/data.md lists the formats.",
        metavar="digits|PATH",
    )
    test: bool = config_field(
        True, "Test the net once; --no-test leaves the test set unread, while choices are made."
    )

    @field_validator("source")
    @classmethod
    def _absolute_source(cls, source: str) -> str:
        try:
            source.encode()
        except UnicodeEncodeError:
            raise ValueError("expected a name in UTF-8: rename the folder") from None
        return source if source == "digits" else absolute_path(source)


class SplitData(AnyData):
    """Recordings that are split into three sets."""

    limit: Annotated[int, Field(ge=1, le=10**9)] | None = config_field(
        None, "Use about this many recordings.", default_text="all"
    )
    split: str = config_field(
        "auto",
        "Split into training, validation and test set by the folders train, val and test, by "
        "speakers, groups or single recordings, or by a table with file,part[,class][,group]. "
        "auto: the first of these that is possible.",
        metavar="auto|folder|speaker|group|recording|FILE.csv",
        max_length=4096,
    )
    val_share: Share | None = config_field(
        None,
        "Share of the recordings in the validation set; if the data or folds decide the test set, "
        "share of the other recordings.",
        default_text="0.15",
    )
    test_share: Share | None = config_field(
        None, "Share of the recordings in the test set.", default_text="0.15"
    )
    folds: Annotated[int, Field(ge=2, le=1000)] | None = config_field(
        None, "Cross-validation: this many runs, each tested on another part.", default_text="none"
    )
    leave_one_out: Literal["speaker", "group"] | None = config_field(
        None,
        "Cross-validation: one run for each speaker or group, which it is tested on.",
        default_text="none",
    )
    fold: Annotated[int, Field(ge=1, le=100_000)] | None = config_field(
        None, "The part of a cross-validation that a run is tested on, from 1.", default_text="1"
    )
    augment: NamedNumbers = config_field(
        {},
        "Augmentation of training recordings, by name and strength, as in shift=0.1,noise=10, or "
        "none; docs/augmentation.md lists it.",
        metavar="NAME=VALUE,…|none",
        default_text="by kind and task; none for a chip",
    )

    @field_validator("split")
    @classmethod
    def _check_split(cls, split: str) -> str:
        if split not in SPLITS and not is_table(split):
            raise ValueError(f"expected one of {', '.join(SPLITS)} or the name of a .csv file")
        return absolute_path(split) if is_table(split) else split

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        """Reject folds and a fold that do not fit together."""
        if self.folds is not None and self.leave_one_out is not None:
            raise ValueError(
                f"data.folds: has no effect with leave_one_out, got {self.folds}: remove one of "
                "them"
            )

        if self.fold is not None and not (self.folds or self.leave_one_out):
            raise ValueError(
                f"data.fold: has no effect without folds or leave_one_out, got {self.fold}: remove "
                "it"
            )
        return self


class FileData(SplitData):
    """Recordings in files."""

    speaker_pattern: str | None = config_field(
        None,
        "Regular expression for the path of a recording; its group `speaker`, or else its first "
        "group, is the speaker.",
        metavar="REGEX",
        default_text="the names of three known data sets",
        max_length=200,
    )
    on_error: Literal["raise", "skip"] = config_field(
        "raise", "Stop at files that cannot be used, or skip them and list them."
    )


class Held(FrozenModel):
    """Frames that may be cut or padded, and are held for one or several time steps."""

    length: Annotated[int, Field(ge=1, le=10**6)] | None = config_field(
        None,
        "Frames of a recording to keep; the rest is cut.",
        default_text="all; --padding zeros: as many as keep 9 of 10 recordings whole",
    )
    hold: Annotated[int, Field(ge=1, le=10**4)] | None = config_field(
        None, "Time steps per frame.", default_text="as many as give sequences of about 100 steps"
    )
    padding: Literal["mask", "zeros"] = config_field(
        "mask",
        "Steps after the end of a recording. mask: nothing reads them; zeros: silence, up to "
        "--length, which the net reads as part of the recording.",
    )


class OwnScale(FrozenModel):
    """Recordings that may be scaled by their own mean and deviation."""

    center: bool = config_field(
        False, "Subtract the mean of each feature over the recording from the recording."
    )
    standardize: bool = config_field(
        False, "Divide each recording by its own standard deviation, over all features and steps."
    )


class FeatureData(OwnScale, Held, SplitData):
    """The built-in spoken digits, which are features already."""

    kind: Literal["features"] = "features"
    source: Literal["digits"] = AnyData.model_fields["source"]  # type: ignore[assignment]  # a field
    split: Literal["auto", "recording"] = SplitData.model_fields["split"]  # type: ignore[assignment]  # as above
    leave_one_out: None = SplitData.model_fields["leave_one_out"]  # type: ignore[assignment]  # as above


class SoundData(OwnScale, Held, FileData):
    """Sound as log-mel frames."""

    source_kind: ClassVar[SourceKind] = "sound"

    kind: Literal["sound"] = "sound"
    center: bool = config_field(True, str(OwnScale.model_fields["center"].description))
    standardize: bool = config_field(
        True,
        f"{OwnScale.model_fields['standardize'].description} Off by default with --no-center.",
    )
    bands: int = config_field(40, "Mel bands.", ge=1, le=4096)
    sample_rate: Annotated[int, Field(ge=1000, le=10**6)] | None = config_field(
        None,
        "Sample rate of the sound [Hz].",
        default_text="lowest in the folder, at most 16000",
    )
    window: float = config_field(25e-3, "Length of a frame [s], at most 1.", ge=1e-4, le=1)
    hop: float = config_field(10e-3, "Distance between frames [s], at most 1.", ge=1e-4, le=1)
    level: Literal["peak", "as_is", "running"] = config_field(
        "peak",
        "Loudness of the sound. peak: the loudest sample of each recording is scaled to full "
        "scale; as_is: unchanged; running: the power of each band is divided by its mean over the "
        "last seconds, for live sound, with the defaults --no-center and --no-standardize.",
        default_text="peak; --task detect: running",
    )
    # Ten minutes are much longer than a word or an event, and still fit into memory.
    max_seconds: float = config_field(
        600.0, "Length above which a recording is an error [s].", gt=0, le=MAX_SECONDS
    )


class SeriesData(OwnScale, Held, FileData):
    """Series of values, such as measurements of sensors."""

    kind: Literal["series"] = "series"
    columns: Names = config_field(
        (),
        "Columns to use, by name or by number from 1, as in x,y,z; folders of .csv or .npy files "
        "only.",
        metavar="NAME,…",
        default_text="all",
    )
    missing: Literal["error", "interpolate"] = config_field(
        "error",
        "Missing values (NaN, empty cells). interpolate: linear over time, at both ends the "
        "nearest value; folders of .csv or .npy files only.",
    )
    add_standardized: bool | None = config_field(
        None,
        "Add each feature a second time, with the mean 0 and the deviation 1 over the recording.",
        default_text="on, unless all recordings have this mean and deviation already",
    )


class ImageData(FileData):
    """Images, each held for some time steps."""

    source_kind: ClassVar[SourceKind] = "image"

    kind: Literal["image"] = "image"
    steps: Steps | None = config_field(None, "Time steps of an image.")
    encoder: Literal["current", "rate", "latency"] = config_field(
        "current",
        "Input of an image. current: its values, in every step; rate: spikes with these "
        "probabilities; latency: one spike per pixel, the brighter, the earlier.",
    )


class EventData(Held, FileData):
    """Events of a camera, a silicon cochlea or another sensor, in bins of time."""

    source_kind: ClassVar[SourceKind] = "events"

    kind: Literal["events"] = "events"
    steps: Steps | None = config_field(None, "Bins of a typical recording.", default_text="100")
    bin: Annotated[float, Field(ge=1e-6, le=3600, allow_inf_nan=False)] | None = config_field(
        None, "Length of a bin [s], in place of --steps.", default_text="as many bins as --steps"
    )
    events: Literal["frames", "lists"] = config_field(
        "frames",
        "Input of the net: frames with the counts of events, or lists, which the first synapse "
        "adds up; lists need --net lif.",
    )


class FilteredData(FileData):
    """Sound through the filter bank of a chip."""

    source_kind: ClassVar[SourceKind] = "sound"

    kind: Literal["filtered"] = "filtered"
    sample_rate: int = config_field(16_000, "Sample rate of the sound [Hz].", ge=1000, le=10**6)
    duration: Annotated[float, Field(ge=1e-3, le=3600, allow_inf_nan=False)] = config_field(
        1.0, "Length to which recordings for a chip are cut or padded with silence [s]."
    )
    level: Literal["peak", "as_is"] = config_field(
        "peak",
        "Loudness of the sound. peak: the loudest sample of each recording is scaled to full "
        "scale; as_is: unchanged, as live input needs.",
    )
    max_seconds: float = SoundData.model_fields["max_seconds"]  # type: ignore[assignment]  # as above


class ChannelData(FileData):
    """Series for a chip, with a channel for each of its filters."""

    kind: Literal["channels"] = "channels"


class PatternData(Held, AnyData):
    """Targets without an input: the patterns that a net learns to generate from noise."""

    kind: Literal["pattern"] = "pattern"


Data = Annotated[
    SoundData
    | SeriesData
    | ImageData
    | EventData
    | FeatureData
    | FilteredData
    | ChannelData
    | PatternData,
    Field(discriminator="kind"),
]
