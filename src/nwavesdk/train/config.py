"""The choice of how a parameter of the surrogate moves over a run.

What a run is: every choice that decides its result, validated, and written to `config.json` when it starts.
"""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.data.split import SplitBy
from nwavesdk.layers import LIFLayer
from nwavesdk.optim import SurrogateAnnealing
from nwavesdk.solvers.sparse.crossover import CrossoverTable
from nwavesdk.surrogate import parse
from nwavesdk.surrogate import text as text_of

__all__ = [
    "ArithmeticConfig",
    "ChipConfig",
    "DataConfig",
    "Facts",
    "LearningConfig",
    "MachineConfig",
    "NetConfig",
    "RunConfig",
    "SurrogateScheduleConfig",
]


class SurrogateScheduleConfig(BaseModel):
    """How a parameter of the surrogate moves, as `nwavesdk.optim.SurrogateAnnealing` has it.

    It is read from a text too: `"exponential(slope, 5, 25)"`, `"plateau(slope, 5, 25, patience=3, stages=5)"`.

    Attributes:
        form: `"linear"`, `"exponential"`, `"cosine"`, or `"plateau"`, which goes by the validation loss.
        parameter: Its name.
        start: Its value in the first epoch.
        end: Its value in the last.
        patience: Epochs without gain that make a plateau.
        stages: Plateaus until `end`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["linear", "exponential", "cosine", "plateau"]
    parameter: str
    start: Annotated[float, Field(allow_inf_nan=False)]
    end: Annotated[float, Field(allow_inf_nan=False)]
    patience: Annotated[int, Field(ge=1)] = 3
    stages: Annotated[int, Field(ge=1)] = 5

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            call = ast.parse(given.strip(), mode="eval").body
            given_names = [node.id for node in (call.func, call.args[0])]  # type: ignore[attr-defined]  # another node is caught
            start, end = map(ast.literal_eval, call.args[1:])  # type: ignore[attr-defined]  # another node is caught
            options = {str(key.arg): ast.literal_eval(key.value) for key in call.keywords}  # type: ignore[attr-defined]  # another node is caught
        except (SyntaxError, AttributeError, IndexError, ValueError, TypeError):
            raise ValueError(
                "expected a form with parameter, start and end, as in exponential(slope, 5, 25)"
            ) from None
        return {
            "form": given_names[0],
            "parameter": given_names[1],
            "start": start,
            "end": end,
            **options,
        }


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Section):
    """Where recordings come from and how they become sequences.

    Attributes:
        source: `"digits"`, or the path of a folder with one subfolder of `.wav` files a class.
        limit: Use about this many recordings only; None: all.
        length: Frames of a recording that are kept; None: so that nine of ten recordings stay whole.
        hold: Time steps for which a frame stays; None: so that a sequence has about 100.
        split: What parts are made by: `"speaker"` keeps whoever is heard in one part out of the others, `"recording"`
            looks at recordings alone; `"auto"` goes by speaker where file names tell who speaks, and there are enough
            of them; the run's config then has which it was.
        sample_rate: Rate of the sound [Hz]; None: the lowest in the folder, at most 16 kHz. Folders only, as the rest.
        bands: Mel bands.
        window: Length of a frame [s].
        hop: Distance between frames [s].
    """

    source: str = "digits"
    limit: Count | None = None
    length: Count | None = None
    hold: Count | None = None
    split: SplitBy = "auto"
    sample_rate: Annotated[int, Field(ge=1000)] | None = None
    bands: Count = 32
    window: Positive = 25e-3
    hop: Positive = 10e-3


class NetConfig(_Section):
    """The network: synapse and LIF layer for each hidden size, then a population of output neurons for each class.

    Attributes:
        hidden: Neurons of each hidden layer.
        population: Output neurons for each class.
        tau: Membrane time constant [s].
        dt: Time step [s].
        threshold: Membrane above which a neuron spikes [units of the membrane].
        dropout: Share of hidden neurons that is silenced in training, for a whole recording.
        surrogate: The spike's gradient, such as `fast_sigmoid(slope=25)`.
    """

    hidden: tuple[Count, ...] = (256, 256)
    population: Count = 10
    tau: Positive = 10e-3
    dt: Positive = 1e-3
    threshold: Positive = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    surrogate: str = "fast_sigmoid(slope=25.0)"

    @field_validator("surrogate")
    @classmethod
    def _full(cls, text: str) -> str:
        return text_of(parse(text))


class ChipConfig(_Section):
    """The chip that a net is made for: its filter bank hears the recordings, its synapses and neurons are the net.

    Attributes:
        profile: `"h1v1"`, `"h1v2"`, or the path of a TOML file with the numbers of a chip of your own.
        training: What training knows of the chip beside its neurons and its charge law: `"plain"` nothing, and the
            weights are moved to what the chip can hold when it ends; `"hardware"` range, shared signs and bits of
            the weights; `"mismatch"` all of that, and another chip of the series in every batch.
        bits: Bits of a weight; None: the profile's.
        duration: Length to which recordings are cut, or padded with silence [s].
        gain: Amplifier before the filters; None: so that one in a hundred values of the training part is above 1.
    """

    profile: str
    training: Literal["plain", "hardware", "mismatch"] = "mismatch"
    bits: Annotated[int, Field(ge=2, le=8)] | None = None
    duration: Positive = 1.0
    gain: Positive | None = None


class LearningConfig(_Section):
    """How weights are learnt: AdamW, a learning rate of one cycle, cross-entropy on the rates of the populations.

    Attributes:
        epochs: Passes over the training part.
        batch_size: Recordings a step.
        rate: Highest learning rate of the cycle.
        weight_decay: Decoupled weight decay of AdamW.
        warmup: Share of the run in which the learning rate rises.
        sharpness: Logit of a class for each spike a step that its neurons fire on average.
        patience: Epochs without gain on the validation part after which the run stops; None: never early.
        surrogate_schedule: How a parameter of the surrogate moves over the run; None: it stays.
    """

    epochs: Count = 20
    batch_size: Count = 64
    rate: Positive = 8e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-2
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3
    sharpness: Positive = 25.0
    patience: Count | None = None
    surrogate_schedule: SurrogateScheduleConfig | None = None


class MachineConfig(_Section):
    """Where the run takes place, as Lightning's Trainer understands it."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = "auto"
    devices: Count = 1
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = "32-true"


class ArithmeticConfig(_Section):
    """What decides the order of sums on a CPU, and with it the last bits of the weights; a resumed run keeps it.

    Attributes:
        threads: Of torch and of our kernels.
        crossovers: Densities below which sparse products are taken; see `nwavesdk.solvers.sparse.crossover`.
    """

    threads: Count
    crossovers: dict[str, Any]

    @field_validator("crossovers")
    @classmethod
    def _valid(cls, content: dict[str, Any]) -> dict[str, Any]:
        return CrossoverTable.of(content, "the content").content()

    def table(self) -> CrossoverTable:
        """The crossovers as products go by them."""
        return CrossoverTable.of(self.crossovers, "the run's config")


class Facts(_Section):
    """What the data turned out to be when the run began.

    Attributes:
        classes: Name of each class.
        n_features: Features of a frame, the net's inputs.
        fingerprint: Hash of the data's content.
        recordings: Recordings in the training, validation and test part.
        split_by: What the parts were made by, `"recording"` or `"speaker"`.
        profile: All numbers of the chip, as JSON, where the run is for one.
    """

    classes: tuple[str, ...]
    n_features: Count
    fingerprint: str
    recordings: tuple[Count, Count, Count]
    split_by: Literal["recording", "speaker"] = "recording"
    profile: str | None = None

    @field_validator("profile")
    @classmethod
    def _whole(cls, text: str | None) -> str | None:
        try:
            return None if text is None else Profile.from_json(text).to_json()
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no profile of a chip, {error!r}") from None

    @property
    def chip(self) -> Profile | None:
        """The chip, as it was when the run began."""
        return None if self.profile is None else Profile.from_json(self.profile)


_CHIP_DEFAULTS: dict[str, dict[str, Any]] = {
    "data": {"sample_rate": 16_000},
    "net": {"hidden": (50,), "tau": 50e-3, "dropout": 0.0},
    "learning": {"epochs": 40, "rate": 0.03, "weight_decay": 0.0, "sharpness": 300.0},
}


class RunConfig(_Section):
    """A whole run.

    Example:
        >>> RunConfig.of({"seed": 3, "learning": {"epochs": 5}}).learning.epochs
        5
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    data: DataConfig = DataConfig()
    net: NetConfig = NetConfig()
    chip: ChipConfig | None = None
    learning: LearningConfig = LearningConfig()
    machine: MachineConfig = MachineConfig()
    arithmetic: ArithmeticConfig | None = None
    facts: Facts | None = None

    @model_validator(mode="before")
    @classmethod
    def _for_a_chip(cls, choices: Any) -> Any:
        """Fill in what is the default of a net for a chip, where it is not given."""
        if not isinstance(choices, Mapping) or not choices.get("chip"):
            return choices
        if isinstance(choices["chip"], Mapping) and "profile" not in choices["chip"]:
            raise ValueError(
                "chip.profile: missing beside other choices of a chip, expected h1v1, h1v2 or a file (--chip)"
            )
        given = {section: choices.get(section) or {} for section in _CHIP_DEFAULTS}
        if not all(isinstance(values, Mapping) for values in given.values()):
            return choices
        return {
            **choices,
            **{section: {**_CHIP_DEFAULTS[section], **values} for section, values in given.items()},
        }

    @model_validator(mode="before")
    @classmethod
    def _as_parted(cls, choices: Any) -> Any:
        """A run that has begun keeps its parts, also one from before there was a choice, which says so in its facts."""
        if not isinstance(choices, Mapping) or not isinstance(
            facts := choices.get("facts"), Mapping
        ):
            return choices
        data = choices.get("data", {})
        if not isinstance(data, Mapping) or data.get("split", "auto") != "auto":
            return choices
        return {**choices, "data": {**data, "split": facts.get("split_by", "recording")}}

    @model_validator(mode="after")
    def _check_schedule(self) -> "RunConfig":
        """Refuse a schedule that the surrogate cannot have, by giving it to a layer with that surrogate."""
        if (schedule := self.learning.surrogate_schedule) is not None:
            layer = LIFLayer(1, self.net.tau, spike_grad=parse(self.net.surrogate))
            try:
                SurrogateAnnealing(
                    nn.Sequential(layer), self.learning.epochs, **schedule.model_dump()
                )
            except (TypeError, ValueError) as error:
                raise ValueError(f"learning.surrogate_schedule: {error}") from None
        return self

    @classmethod
    def of(cls, choices: Mapping[str, Any]) -> "RunConfig":
        """Validate nested choices; what is left out has its default.

        Raises:
            ValueError: A choice is unknown or out of its range; one line names it, what it got and what is expected.
        """
        try:
            return cls.model_validate(choices)
        except ValidationError as error:
            raise ValueError("; ".join(_problem(details) for details in error.errors())) from None

    @classmethod
    def read(cls, path: Path) -> "RunConfig":
        """Read `config.json`.

        Raises:
            ValueError: The file is no JSON, or not the config of a run.
        """
        try:
            return cls.of(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is not the config of a run: {error}") from None

    def check_same(self, choices: Mapping[str, Any]) -> None:
        """Refuse choices that differ from this run's.

        Raises:
            ValueError: A choice is out of its range or differs; the text names the first one.
        """
        mine = self.model_dump()
        if self.chip is None and choices.get("chip"):
            raise ValueError(
                "chip: the run that is resumed is not for a chip: leave --chip out, or begin a new run."
            )
        merged = {
            name: {**mine[name], **given} if isinstance(given, Mapping) else given
            for name, given in choices.items()
        }
        asked = RunConfig.of({**mine, **merged}).model_dump()
        for name, given in choices.items():
            for key in given if isinstance(given, Mapping) else [None]:
                old, new = (
                    whole[name] if key is None else whole[name][key] for whole in (mine, asked)
                )
                if old != new:
                    raise ValueError(
                        f"{name if key is None else f'{name}.{key}'}: a resumed run keeps its own choices, "
                        f"got {new!r}, expected {old!r}: leave the option out, or begin a new run."
                    )

    def json_text(self) -> str:
        """The text of `config.json`."""
        text = self.model_dump_json(indent=2)
        return re.sub(r"\[[^][{}\"]*\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def _problem(details: Any) -> str:
    where = ".".join(str(part) for part in details["loc"]) or "config"
    what = details["msg"].removeprefix("Value error, ")
    return f"{where}: {what[0].lower()}{what[1:]} (got {details['input']!r})"
