"""The sections of a run's config: the choices that a user can make.

As `nwavesdk.train.config`, the module imports neither torch nor numba. Validators that need more
import it when they run.
"""

import ast
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nwavesdk.internal.model import FrozenModel
from nwavesdk.presets import PresetName
from nwavesdk.train.config.neuron_choice import DEFAULT_NEURON, LEARN, number_of, split_values

__all__ = [
    "LONGEST",
    "ChipConfig",
    "Count",
    "DataConfig",
    "LearningConfig",
    "MachineConfig",
    "NetConfig",
    "NoneOrMore",
    "SurrogateScheduleConfig",
    "choice",
    "is_table",
]

# The largest allowed `data.max_seconds` [s]: a day. Runs from before that option have no limit.
LONGEST = 86_400.0

# What a split may be decided by, apart from a table in a file.
SPLITS = ("auto", "folder", "speaker", "group", "recording")

Count = Annotated[int, Field(ge=1)]
NoneOrMore = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]

# Bounds exclude mistakes, such as a unit or an exponent, and runs that could never end or would
# overflow; they are far from every useful value. What a machine can hold is checked by `Run`.
LayerSize = Annotated[int, Field(ge=1, le=100_000)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
Seconds = Annotated[float, Field(ge=1e-6, le=1e4, allow_inf_nan=False)]
# Squares and products of these, and their reciprocals, are far from the limits of float32.
Scale = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]
Moderate = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]

# Longest text of a surrogate or schedule; the parser of Python takes longer ones apart in vain.
MOST_LETTERS = 500


def choice(
    default: Any, description: str, *, metavar: str = "", default_text: str = "", **limits: Any
) -> Any:
    """A field of the config, with what `nwave train --help` prints for it.

    Args:
        default: The default value.
        description: What the field means.
        metavar: The form of the option's value.
        default_text: What a default of None means.
        limits: Further arguments of `pydantic.Field`.
    """
    printed: dict[str, Any] = {"metavar": metavar, "default_text": default_text}
    return Field(default, description=description, json_schema_extra=printed, **limits)


def is_table(split: str) -> bool:
    """Whether a value of `data.split` is the name of a table."""
    return split.lower().endswith(".csv")


class SurrogateScheduleConfig(FrozenModel):
    """How a parameter of the surrogate changes over a run; see `nwavesdk.optim.SurrogateAnnealing`.

    A text is accepted, too: `"exponential(slope, 5, 25)"` or
    `"plateau(slope, 5, 25, patience=3, stages=5)"`.
    """

    form: Literal["linear", "exponential", "cosine", "plateau"] = Field(
        description="Form of the schedule; `plateau` depends on the validation loss."
    )
    parameter: str = Field(description="Name of the parameter.")
    start: Moderate = Field(description="Value in the first epoch.")
    end: Moderate = Field(description="Value in the last epoch.")
    patience: Epochs = Field(
        default=3, description="Epochs without improvement that make a plateau."
    )
    stages: Epochs = Field(default=5, description="Plateaus until `end`.")

    @model_validator(mode="before")
    @classmethod
    def _parse_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            if len(value) > MOST_LETTERS:
                raise ValueError
            call = ast.parse(value.strip(), mode="eval").body
            form, parameter = [node.id for node in (call.func, call.args[0])]  # type: ignore[attr-defined]  # another node is caught
            start, end = map(ast.literal_eval, call.args[1:])  # type: ignore[attr-defined]  # another node is caught
            options = {str(key.arg): ast.literal_eval(key.value) for key in call.keywords}  # type: ignore[attr-defined]  # another node is caught
            if options.keys() & {"form", "parameter", "start", "end"}:
                raise ValueError
        # The parser of Python raises the last two for deeply nested texts.
        except (
            *(SyntaxError, AttributeError, IndexError, ValueError, TypeError),
            *(RecursionError, MemoryError),
        ):
            raise ValueError(
                "expected a form with parameter, start and end, as in exponential(slope, 5, 25)"
            ) from None
        return {"form": form, "parameter": parameter, "start": start, "end": end, **options}


class DataConfig(FrozenModel):
    """The recordings, and how they become sequences."""

    source: str = choice(
        "digits",
        "Spoken digits, or a folder or file with recordings; docs/data.md lists the formats.",
        metavar="digits|PATH",
    )
    task: Literal["auto", "classification", "labels", "regression", "pattern"] = choice(
        "auto",
        "What the net learns: a class per recording, a class per step (labels), values per step "
        "(regression), or values per step without an input (pattern).",
        default_text="found in the data",
    )
    limit: Annotated[int, Field(ge=1, le=10**9)] | None = choice(
        None, "Use about this many recordings.", default_text="all"
    )
    length: Annotated[int, Field(ge=1, le=10**6)] | None = choice(
        None,
        "Frames of a recording to keep; the rest is cut.",
        default_text="all; --padding zeros: as many as keep 9 of 10 recordings whole",
    )
    hold: Annotated[int, Field(ge=1, le=10**4)] | None = choice(
        None, "Time steps per frame.", default_text="as many as give sequences of about 100 steps"
    )
    padding: Literal["mask", "zeros"] = choice(
        "mask",
        "Steps after the end of a recording. mask: nothing reads them; zeros: silence, up to "
        "--length, which the net reads as part of the recording.",
    )
    split: str = choice(
        "auto",
        "What decides the training, validation and test set: the folders train, val and test, the "
        "speakers, the groups, single recordings, or a table with file,part[,class][,group]. "
        "auto: the first of these that can be had.",
        metavar="auto|folder|speaker|group|recording|FILE.csv",
        max_length=4096,
    )
    speaker_pattern: str | None = choice(
        None,
        "Regular expression for the path of a recording; its group `speaker`, or its first one, is "
        "the speaker.",
        metavar="REGEX",
        default_text="the names of three known data sets",
        max_length=200,
    )
    val_share: Share | None = choice(
        None,
        "Share of the recordings in the validation set; of those not in the test set, where the "
        "data or folds decide that.",
        default_text="0.15",
    )
    test_share: Share | None = choice(
        None, "Share of the recordings in the test set.", default_text="0.15"
    )
    folds: Annotated[int, Field(ge=2, le=1000)] | None = choice(
        None, "Cross-validation: this many runs, each tested on another part.", default_text="none"
    )
    leave_one_out: Literal["speaker", "group"] | None = choice(
        None,
        "Cross-validation: one run for each speaker or group, which it is tested on.",
        default_text="none",
    )
    fold: Annotated[int, Field(ge=1, le=100_000)] | None = choice(
        None,
        "The part of a cross-validation that a run is tested on, from 1.",
        default_text="1",
    )
    test: bool = choice(True, "Leave the test set unread, as long as choices are made.")
    steps: Annotated[int, Field(ge=1, le=10**5)] | None = choice(
        None, "Time steps of an image; bins of a typical recording of events.", default_text="100"
    )
    encoder: Literal["current", "rate", "latency"] = choice(
        "current",
        "Input of an image. current: its values, in every step; rate: spikes with these "
        "probabilities; latency: one spike per pixel, the brighter, the earlier.",
    )
    bin: Annotated[float, Field(ge=1e-6, le=3600, allow_inf_nan=False)] | None = choice(
        None, "Length of a bin of events [s].", default_text="as many bins as --steps"
    )
    events: Literal["frames", "lists"] = choice(
        "frames",
        "Input of events: frames with their counts, or lists, which the first synapse adds up.",
    )
    sample_rate: int | None = choice(
        None,
        "Sample rate of the sound [Hz]; folders only.",
        default_text="lowest in the folder, at most 16000",
        ge=1000,
        le=10**6,
    )
    bands: int = choice(32, "Mel bands; folders only.", ge=1, le=4096)
    window: float = choice(25e-3, "Length of a frame [s], at most 1; folders only.", ge=1e-4, le=1)
    hop: float = choice(
        10e-3, "Distance between frames [s], at most 1; folders only.", ge=1e-4, le=1
    )
    level: Literal["peak", "as_is"] = choice(
        "peak",
        "Loudness of the sound; folders only. peak: the loudest sample of each recording is scaled "
        "to full scale; as_is: unchanged, as live input needs.",
    )
    augment: dict[str, float] = choice(
        {},
        "Random changes of training recordings and their strengths, as in shift=0.1,noise=10, or "
        "none; docs/augmentation.md lists them.",
        metavar="NAME=VALUE,…|none",
        default_text="none",
    )
    center: bool = choice(
        False, "Subtract the mean of each feature over the recording from the recording."
    )
    standardize: bool = choice(
        False,
        "Divide each recording by its own standard deviation, over all features and steps; without "
        "--center, sounds are not standardized by default.",
    )
    # None: on, unless all recordings have the mean 0 and the deviation 1 already.
    add_standardized: bool | None = choice(
        False,
        "Give the net each feature a second time, with the mean 0 and the deviation 1 over the "
        "recording; series only.",
        default_text="off",
    )
    look_ahead: Annotated[int, Field(ge=0, le=10**5)] = choice(
        0,
        "Steps after a step that its class may depend on: the net gives it so many steps later; "
        "labels only.",
    )
    columns: tuple[Annotated[str, Field(min_length=1)], ...] = choice(
        (),
        "Columns of series to use, by name or by number from 1, as in x,y,z; folders of .csv or "
        ".npy files only.",
        metavar="NAME,…",
        default_text="all",
        max_length=1000,
    )
    missing: Literal["error", "interpolate"] = choice(
        "error",
        "Missing values (NaN, empty cells) of series. interpolate: linear over time, at both ends "
        "the nearest value; folders of .csv or .npy files only.",
    )
    on_error: Literal["raise", "skip"] = choice(
        "raise", "Stop at files that cannot be used, or skip them and list them; folders only."
    )
    # Ten minutes are far more than a word or an event, and a file that is longer by mistake still
    # fits the memory.
    max_seconds: float = choice(
        600.0, "Length above which a recording is an error [s]; folders only.", gt=0, le=LONGEST
    )

    @field_validator("augment", mode="before")
    @classmethod
    def _parse_augmentation(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given.strip() == "none":
            return {}
        return {
            name: number_of("data.augment", name, value)
            for name, value in split_values("data.augment", given, "shift=0.1,noise=10").items()
        }

    @field_validator("columns", mode="before")
    @classmethod
    def _split_columns(cls, given: Any) -> Any:
        return [name.strip() for name in given.split(",")] if isinstance(given, str) else given

    @field_validator("source")
    @classmethod
    def _check_text(cls, source: str) -> str:
        try:
            source.encode()
        except UnicodeEncodeError:
            raise ValueError("expected a name in UTF-8: rename the folder") from None
        return source

    @field_validator("split")
    @classmethod
    def _check_split(cls, split: str) -> str:
        if split not in SPLITS and not is_table(split):
            raise ValueError(f"expected one of {', '.join(SPLITS)} or the name of a .csv file")
        return split

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        if self.folds is not None and self.leave_one_out is not None:
            raise ValueError(
                f"data.folds: has no effect with leave_one_out, got {self.folds}: leave one of "
                "them out"
            )
        if self.fold is not None and self.folds is None and self.leave_one_out is None:
            raise ValueError(
                f"data.fold: has no effect without folds or leave_one_out, got {self.fold}: leave "
                "it out"
            )
        if self.folds is not None and self.fold is not None and self.fold > self.folds:
            raise ValueError(
                f"data.fold: expected at most {self.folds}, the folds, got {self.fold}"
            )
        return self


class NetConfig(FrozenModel):
    """The network: a synapse and a neuron layer per hidden size, then a population per class.

    The population is of LIF neurons. `RunConfig` completes and checks the choice of the others.
    """

    preset: PresetName | None = choice(
        None,
        "Net of the library; None before a run begins: found from the data. In runs from before "
        "there were presets, a net of layers.",
    )
    hidden: tuple[LayerSize, ...] = choice(
        (256, 256), "Hidden layer sizes.", metavar="N,N,…", max_length=1000
    )
    population: LayerSize = choice(10, "Output neurons per class.")
    neuron: str = choice(
        DEFAULT_NEURON,
        "Neuron of the hidden layers; `nwave neurons` lists them, --chip has its own.",
        metavar="NAME",
    )
    neuron_options: dict[str, float | tuple[str, ...]] = choice(
        {},
        "Constants of that neuron, and those to train, as in tau_w=0.1,learn=(a,b).",
        metavar="NAME=VALUE,…",
        default_text="its own",
    )
    recurrent: bool | None = choice(
        None,
        "Connect the neurons of each hidden layer with each other.",
        default_text="for patterns only",
    )
    charge_gain: Scale | None = choice(
        None,
        "Factor of the initial weights to hidden layers, and of their learning rates.",
        default_text="1 for LIF; others fire as often as LIF under noise",
    )
    first_weights: Literal["drawn", "driven"] = choice(
        "drawn",
        "Weights before training. drawn: at random, as the page of the net does; driven: by "
        "fluct_init, so that training recordings make each neuron fire, but rarely.",
        default_text="driven",
    )
    tau: Seconds = choice(10e-3, "Membrane time constant [s].")
    dt: Seconds = choice(1e-3, "Time step [s].")
    threshold: Scale = choice(1.0, "Membrane above which a neuron spikes.")
    reset: Literal["subtraction", "zero"] = choice(
        "subtraction",
        "What a spike of a LIF neuron does: subtract the threshold, or set the membrane to zero, "
        "the only reset of NIR.",
    )
    dropout: float = choice(
        0.05,
        "Fraction of hidden neurons silenced in training: with lif and chip, for a whole "
        "recording; with other nets, again in each step.",
        ge=0,
        lt=1,
    )
    surrogate: str = choice(
        "fast_sigmoid(slope=25.0)",
        "Gradient of a spike; `nwave surrogates` lists them.",
        max_length=MOST_LETTERS,
    )

    @property
    def has_default_neuron(self) -> bool:
        """Whether the hidden neurons are LIF neurons with the constants of the net."""
        return self.neuron == DEFAULT_NEURON and not self.neuron_options

    @property
    def neuron_constants(self) -> dict[str, float]:
        """The constants among the options."""
        return {k: v for k, v in self.neuron_options.items() if not isinstance(v, tuple)}

    @property
    def learned_constants(self) -> tuple[str, ...]:
        """Names of the constants that are trained."""
        names = self.neuron_options.get(LEARN, ())
        return names if isinstance(names, tuple) else ()

    @field_validator("surrogate")
    @classmethod
    def _write_in_full(cls, text: str) -> str:
        from nwavesdk.surrogate import parse
        from nwavesdk.surrogate import text as text_of

        try:
            return text_of(parse(text))
        except (RecursionError, MemoryError):  # of the parser of Python
            raise ValueError("expected the name of a surrogate, as in atan(alpha=3)") from None


class ChipConfig(FrozenModel):
    """The chip of a net: recordings pass its filter bank; the net has its synapses and neurons."""

    profile: str = Field(
        description="Train for this chip; FILE is a TOML profile.",
        json_schema_extra={"metavar": "h1v1|h1v2|FILE", "default_text": "none"},
    )
    training: Literal["plain", "hardware", "mismatch"] = choice(
        "mismatch",
        "What training takes into account besides the chip's neurons and charge law. "
        "plain: nothing, weights are moved to values that the chip can hold at the end; "
        "hardware: range, shared signs and bits of the weights; "
        "mismatch: also another drawn chip in every batch.",
    )
    bits: int | None = choice(
        None, "Bits of a weight on the chip.", default_text="the profile's", ge=2, le=8
    )
    duration: Annotated[float, Field(ge=1e-3, le=3600, allow_inf_nan=False)] = choice(
        1.0, "Length to which recordings for a chip are cut or padded with silence [s]."
    )
    gain: Annotated[float, Field(ge=1e-12, le=1e12, allow_inf_nan=False)] | None = choice(
        None,
        "Gain of the amplifier before the filters.",
        default_text="so that 1 of 100 values of the training set is above 1",
    )


class LearningConfig(FrozenModel):
    """How weights are learned: AdamW, one cycle of the learning rate, cross-entropy of rates."""

    epochs: Epochs = choice(20, "Passes over the training set.")
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = choice(
        64, "Recordings per update of the weights."
    )
    rate: Annotated[float, Field(ge=1e-12, le=1e3, allow_inf_nan=False)] = choice(
        8e-3, "Highest learning rate of the cycle."
    )
    weight_decay: float = choice(
        1e-2, "Decoupled weight decay of AdamW.", ge=0, le=1e3, allow_inf_nan=False
    )
    warmup: float = choice(0.3, "Fraction of the run in which the learning rate rises.", gt=0, lt=1)
    clip: Scale | None = choice(
        None, "Largest norm of a gradient; larger ones are scaled down.", default_text="none"
    )
    label_smoothing: float = choice(
        0.0, "Probability that the loss expects of the wrong classes together.", ge=0, lt=1
    )
    most_spikes: Annotated[float, Field(gt=0, le=1)] | None = choice(
        None,
        "Bound of the mean rate of each hidden layer; more spikes per step and neuron cost.",
        default_text="none",
    )
    spike_cost: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = choice(
        0.2, "Loss of a layer with twice the rate of --most-spikes."
    )
    sharpness: Scale = choice(
        25.0, "Logit of a class per spike and step that its neurons fire on average."
    )
    class_weights: Literal["none", "balanced"] = choice(
        "none",
        "Weights of the classes in the loss. balanced: the fewer recordings of a class, the more "
        "each of them counts.",
    )
    keep: Literal["best", "last"] = choice(
        "best",
        "Weights to keep: those of the best epoch on the validation set, or of the last one, which "
        "is the end of the cycle and no accident of a small validation set.",
    )
    patience: Epochs | None = choice(
        None,
        "Stop after this many epochs without improvement on the validation set.",
        default_text="never",
    )
    surrogate_schedule: SurrogateScheduleConfig | None = choice(
        None,
        "Change a parameter of the surrogate over the run by a linear, exponential, cosine or "
        "plateau schedule, as in exponential(slope,5,25).",
        metavar="FORM(NAME,START,END)",
        default_text="none",
    )

    @model_validator(mode="after")
    def _check_patience(self) -> Self:
        if self.keep == "last" and self.patience is not None:
            raise ValueError(
                f'learning.patience: has no effect with keep="last", got {self.patience}: leave '
                'it out, or keep="best"'
            )
        return self


class MachineConfig(FrozenModel):
    """The machine of the run, in the terms of Lightning's Trainer."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = choice("auto", "Kind of device.")
    devices: Annotated[int, Field(ge=1, le=1024)] = choice(
        1, "Processes or GPUs, data-parallel; each takes --batch-size recordings."
    )
    nodes: Annotated[int, Field(ge=1, le=1024)] = choice(
        1, "Machines with --devices each, on which torchrun starts the command: docs/scaling.md."
    )
    workers: Annotated[int, Field(ge=0, le=256)] = choice(
        0, "Processes that prepare batches; 0: the process that trains."
    )
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = choice(
        "32-true", "Precision of the numbers."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = choice(
        None,
        "Threads of each process; sums, and so the last bits of weights, depend on them.",
        default_text="1 for a fold or a small net; else those of torch, shared by --devices",
    )
