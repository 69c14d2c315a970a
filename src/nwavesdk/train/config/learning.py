"""The sections task, chip, learning and machine of a config."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.config.fields import (
    AbsolutePath,
    BatchSize,
    Epochs,
    Moderate,
    NotNegative,
    PositiveNumber,
    ProcessCount,
    absolute_path,
    config_field,
)

__all__ = [
    "ChipConfig",
    "ClassTask",
    "CompletedLearning",
    "DetectTask",
    "LabelTask",
    "LearningConfig",
    "MachineConfig",
    "PatternTask",
    "SurrogateScheduleConfig",
    "Task",
    "ValueTask",
]


class Classes(FrozenModel):
    """The fields of tasks with classes."""

    class_weights: Literal["none", "balanced"] = config_field(
        "none",
        "Weights of the classes in the loss. balanced: the fewer recordings of a class, the more "
        "each of them counts.",
    )
    label_smoothing: float = config_field(
        0.0, "Probability that the loss expects of the wrong classes together.", ge=0, lt=1
    )


class ClassTask(Classes):
    """A class for each recording."""

    name: Literal["classification"] = "classification"
    label_smoothing: float = config_field(
        0.05, str(Classes.model_fields["label_smoothing"].description), ge=0, lt=1
    )


class LabelTask(Classes):
    """A class for each step."""

    name: Literal["labels"] = "labels"
    look_ahead: Annotated[int, Field(ge=0, le=10**5)] = config_field(
        0,
        "Number of later steps that the class of a step may depend on; the net outputs the class "
        "so many steps later.",
    )


class ValueTask(FrozenModel):
    """Values for each step."""

    name: Literal["regression"] = "regression"


class PatternTask(FrozenModel):
    """Values for each step, without an input."""

    name: Literal["pattern"] = "pattern"


class DetectTask(FrozenModel):
    """Events in a stream, such as words."""

    name: Literal["detect"] = "detect"
    false_alarms: Annotated[float, Field(ge=1e-3, le=3600, allow_inf_nan=False)] = config_field(
        0.5, "False alarms per hour of the validation stream, within which the detector is set."
    )
    times: AbsolutePath | None = config_field(
        None,
        "Table of the events in recordings, file,start,end,event [s]; streams are then these "
        "recordings and those of the folder background.",
        metavar="FILE.csv",
        default_text="none: an event is the loud part of its recording",
        max_length=4096,
    )


Task = Annotated[
    ClassTask | LabelTask | ValueTask | PatternTask | DetectTask, Field(discriminator="name")
]


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

        form, _, inner = value.strip().removesuffix(")").partition("(")
        arguments = [argument.strip() for argument in inner.split(",")]
        options = dict(zip(("form", "parameter", "start", "end"), [form, *arguments], strict=False))
        options |= dict(argument.split("=", 1) for argument in arguments[3:] if "=" in argument)
        if len(options) < max(4, 1 + len(arguments)):
            raise ValueError(
                "expected a form with parameter, start and end, as in exponential(slope, 5, 25)"
            )
        return options


class ChipConfig(FrozenModel):
    """The chip of a net: recordings pass its filter bank; the net has its synapses and neurons."""

    profile: str = Field(
        description="Train for this chip; FILE is a TOML profile.",
        json_schema_extra={"metavar": "h1v1|h1v2|FILE", "default_text": "none"},
    )
    training: Literal["plain", "hardware", "mismatch"] = config_field(
        "mismatch",
        "Limits of the chip in training, besides its neurons and charge law. "
        "plain: none, weights are moved to values that the chip can hold at the end; "
        "hardware: range, shared signs and bits of the weights; "
        "mismatch: also a newly drawn chip in every batch.",
    )
    bits: Annotated[int, Field(ge=2, le=8)] | None = config_field(
        None, "Bits of a weight on the chip.", default_text="the profile's"
    )
    gain: Annotated[float, Field(ge=1e-12, le=1e12, allow_inf_nan=False)] | None = config_field(
        None,
        "Gain of the amplifier before the filters.",
        default_text="so that 1 of 100 values of the training set is above 1",
    )

    @field_validator("profile")
    @classmethod
    def _absolute_profile(cls, profile: str) -> str:
        is_name = profile.lower() in ("h1v1", "h1v2")
        return profile.lower() if is_name else absolute_path(profile)


class LearningConfig(FrozenModel):
    """How weights are learned: AdamW, and one cycle of the learning rate."""

    epochs: Epochs | None = config_field(
        None, "Passes over the training set.", default_text="by the number of recordings"
    )
    batch_size: BatchSize | None = config_field(
        None, "Recordings per update of the weights.", default_text="by the number of recordings"
    )
    rate: Annotated[float, Field(ge=1e-12, le=1e3, allow_inf_nan=False)] = config_field(
        1e-2, "Highest learning rate of the cycle."
    )
    weight_decay: float = config_field(
        1e-2, "Decoupled weight decay of AdamW.", ge=0, le=1e3, allow_inf_nan=False
    )
    warmup: float = config_field(
        0.2, "Fraction of the run in which the learning rate rises.", gt=0, lt=1
    )
    clip: PositiveNumber | None = config_field(
        1.0, "Largest norm of a gradient; larger gradients are scaled down.", default_text="none"
    )
    most_spikes: Annotated[float, Field(gt=0, le=1)] | None = config_field(
        0.04,
        "Bound of the mean rate of each hidden layer; more spikes per step and neuron cost.",
        default_text="none",
    )
    spike_cost: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = config_field(
        0.2, "Loss of a layer with twice the rate of --most-spikes."
    )
    keep: Literal["best", "last"] = config_field(
        "last",
        "Weights to keep: of the epoch that is best on the validation set, or of the last epoch, "
        "which ends the cycle and does not depend on a small validation set.",
    )
    patience: Epochs | None = config_field(
        None,
        "Stop after this many epochs without improvement on the validation set, and keep the best.",
        default_text="never",
    )
    surrogate_schedule: SurrogateScheduleConfig | None = config_field(
        None,
        "Change a parameter of the surrogate over the run by a linear, exponential, cosine or "
        "plateau schedule, as in exponential(slope,5,25).",
        metavar="FORM(NAME,START,END)",
        default_text="none",
    )
    finetune: AbsolutePath | None = config_field(
        None,
        "Begin with the weights of this run, on its data and with its options, for a fifth of its "
        "epochs at a tenth of its learning rate.",
        metavar="RUN",
        default_text="none",
        max_length=4096,
    )
    weight_bits: Annotated[int, Field(ge=4, le=8)] | None = config_field(
        None,
        "Round inputs to 8 bits and weights to this number of bits, in training and in use; needs "
        "--finetune.",
        default_text="none",
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.weight_bits is not None and self.finetune is None:
            raise ValueError(
                f"learning.weight_bits: needs a trained run, got {self.weight_bits} without one: "
                "add learning.finetune (--finetune RUN)"
            )
        if self.patience is not None and self.keep == "last" and "keep" in self.model_fields_set:
            raise ValueError(
                f"learning.patience: has no effect with keep 'last', got {self.patience}: remove "
                "it, or use keep 'best'"
            )
        return self


class CompletedLearning(LearningConfig):
    """The choices of learning in a run that has begun."""

    epochs: Epochs
    batch_size: BatchSize


class MachineConfig(FrozenModel):
    """The machine of the run, in the terms of Lightning's Trainer."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = config_field(
        "auto", "Kind of device."
    )
    devices: ProcessCount = config_field(
        1, "Processes or GPUs, data-parallel; each takes --batch-size recordings."
    )
    nodes: ProcessCount = config_field(
        1, "Machines with --devices each, on which torchrun starts the command: docs/scaling.md."
    )
    workers: Annotated[NotNegative, Field(le=256)] = config_field(
        0, "Processes that prepare batches; 0: the process that trains."
    )
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = config_field(
        "32-true", "Precision of the numbers."
    )
    threads: ProcessCount | None = config_field(
        None,
        "Threads of each process; sums, and so the last bits of weights, depend on them.",
        default_text="1 for a fold or a small net; else the threads of torch, shared by --devices",
    )
