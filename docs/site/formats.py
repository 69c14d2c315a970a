"""Pages of the reference on chip parameters and on files, with their tables from the code."""

import re
from pathlib import Path
from string import Template
from typing import Any

from docs.site.docstrings import as_markdown
from nwavesdk.chip import CHIPS, Profile, load_profile
from nwavesdk.data.loading import INDEX, STORE_ARRAYS
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.apply.predictions import WRITERS
from nwavesdk.train.config.completed import Facts
from nwavesdk.train.config.net_file import NetPage
from nwavesdk.train.run_folder import RunFolder

__all__ = ["RESULT", "format_pages"]

# What each number of `result.json` is; `val_` and `test_` are left out of the names.
RESULT = {
    "accuracy": "share of recordings that are classified correctly",
    "balanced_accuracy": "mean of the recall of the classes",
    "f1": "mean of the F1 score of the classes",
    "r2": "R² over all steps and values",
    "mse": "mean squared error, in the square of the unit of the target",
    "correlation": "correlation of prediction and target, mean over values",
    "misses": "share of the events that are not detected, at the stored decision and 10 dB",
    "misses_interval": "the 95 % interval of this share, by Clopper and Pearson",
    "false_alarms_per_hour": "detections without an event, of all events together [1/h]",
    "false_alarms_interval": "the 95 % interval of this rate, by Garwood [1/h]",
    "median_latency": "from the end of an event to its detection [s], the median",
    "p90_latency": "the same, of nine tenths of the detected events [s]",
    "events": "number of events in the streams",
    "hours": "length of the streams [h]",
    "by_snr": "these numbers by signal-to-noise ratio",
    "decision": "smoothing, threshold, release level and dead time of a detector",
    "loss": "loss on the validation set at the selected epoch",
    "seed": "seed of the run",
    "seconds": "time of the training [s]",
    "epochs": "epochs that were trained",
    "best_epoch": "epoch whose weights are in the model file",
    "lowest_loss": "lowest loss on the validation set of all epochs",
    "lowest_loss_epoch": "epoch that has it",
    "rates": "spikes per step and neuron of each layer that spikes",
    "dead": "share of neurons of each layer that never fire",
    "saturated": "share of neurons of each layer that fire in more than 9 of 10 steps",
    "parameters": "number of weights and constants that are trained",
    "hidden_rate": "share of steps in which hidden neurons fire, over all layers",
    "dense_macs": "multiply-accumulates of an inference if nothing were sparse",
    "effective_macs": "multiply-accumulates with an input and a weight that are not 0",
    "effective_acs": "the same for additions, whose inputs are spikes",
    "neuron_updates": "updates of neurons in an inference",
    "counted_recordings": "recordings over which the four numbers before are means",
    "not_counted": "modules whose operations cannot be counted",
    "majority_accuracy": "accuracy of the largest class",
    "linear_accuracy": "accuracy of a linear model of mean and deviation over time of the inputs",
    "linear_r2": "R² of a linear model of the inputs of a step",
}

CHIPS_HEAD = """\
# Chip parameters

The profiles `nwavesdk/chip/profiles/*.toml`, one table each. **assumed** means that the public
documentation of NWAVE does not have the value, and we chose one. A result that depends on an
assumed value is as uncertain as the value. If you have measured it, write it to a profile of your
own: `docs/chip.md` describes profiles, and the range of each parameter.
"""

FILES_HEAD = """\
# Files

Each file that the library writes, except files of TensorBoard, appears whole or not at all. A
file that is read is checked: a damaged one is rejected with one line. Recordings, configs, models,
checkpoints and chip files cannot run code. The file of `--net FILE.py` is code, and does.

`nwave train --data PATH` reads the formats in `docs/data.md`, which also has the tables of
`--split FILE.csv`.

## The folder of a run

`nwave train --out RUN` writes these files.

| file | content |
|---|---|
$folder
| `pictures/*.png` | the plots of the report |
| `tensorboard/` | the same curves for TensorBoard |
| `.lock` | locked by the process that trains the run; empty |

`nwave predict` and `nwavesdk.train.load` read `$config` and `$model` alone. With `--folds`, each
folder `fold-N` is such a run; `nwave compare` and `nwave tune` also make one folder for each run.

## `$config`

JSON. The keys `task`, `data`, `net`, `chip`, `learning` and `machine` are the settings in
[settings of a run](config.md), and `seed` is their seed. The other keys follow.

### `facts`

$facts

### `page`

The Python file that builds the net: the page of a preset, or the file of `--net`.

$page

## `$model`

In the format of [safetensors](https://github.com/huggingface/safetensors).

| tensor | content |
|---|---|
| `net.NAME` | the tensor `NAME` of `net.state_dict()` of the selected epoch |
| `standard.mean`, `standard.deviation` | scale of each feature: \
`(x - mean) / deviation` |
| `targets.mean`, `targets.deviation` | \
scale of each value of the target, of runs that learn values |

The text `sha256` in its header is a checksum of the whole file, with `unsealed` × 8 in its place,
and of the identity of the run, so that the file of another run is rejected.

## `$checkpoint`

A checkpoint of Lightning, in the format of `torch.save`, read with `weights_only=True`. Its key
`run` is the identity of the run, and `callbacks` has the metrics of all epochs and the weights of
the selected one. `nwave train --resume` reads it.

## `$metrics`

One row for each epoch. All runs have the columns `epoch`, `train_loss`, `train_rate`,
`val_loss`, `learning_rate` and `seconds`. Classes add
`train_accuracy` and `val_accuracy`, values `train_r2` and `val_r2`. `rate_N` is the
firing rate of neuron layer N, and `grad_N` the norm of the gradient of synapse N.

## `$result`

JSON. A name with `test_` is of the test set, with `val_` of the validation set. The text `sha256`
is a checksum of the rest.

$results

## The chip file

`nwave export` writes it; `docs/chip.md` describes its header and tensors, and `read_header`
returns the header.

## Predictions

`nwave predict RUN FILE ... --out NAME` chooses the format by the end of `NAME`: $suffixes.

| format | content |
|---|---|
| `.csv`, a class for each recording | \
columns `file`, `steps`, `class`, and `p(CLASS)` for each class |
| `.csv`, a prediction for each step | \
columns `file`, `step`, `time [s]` if the length of a step is known, \
`class` with `p(CLASS)`, or `value N` |
| `.npz` | `files`, `steps`, `is_cut`, `classes`, `predicted`, `probabilities`, \
and `step_seconds` if it is known; with spikes also `spike_counts`, and \
`spikes` `[n, 3]`: recording, step, neuron |
| `.json` | a list with one object for each recording |

## Caches

Both are in the folder that `NWAVESDK_CACHE` names, otherwise in `~/.cache/nwavesdk` (or in
`nwavesdk` in `XDG_CACHE_HOME`). They can be removed at any time.

| folder | content |
|---|---|
| `data/` | one folder for each data set with its choices: $arrays with the frames and targets of \
all recordings, and `$index` with their lengths and a SHA-256 |
| `compiled/` | one `*.kernel` for each compiled kernel of the CPU; \
the folder must be yours, because it holds machine code |
"""


def format_pages() -> dict[str, str | bytes]:
    """The pages by their place in `docs`."""
    return {"reference/chips.md": _chips(), "reference/files.md": _files()}


def _chips() -> str:
    lines = [CHIPS_HEAD]
    for name in CHIPS:
        lines += [
            f"## {name}",
            "",
            "| number | value | unit | source | meaning |",
            "|" + "---|" * 5,
        ]
        lines += [*_chip_rows(load_profile(name)), ""]
    return "\n".join(lines)


def _chip_rows(profile: Profile) -> list[str]:
    rows = []
    for name, entry in profile.entries.items():
        source = entry.source if entry.source == "documented" else f"**{entry.source}**"
        value = _value(entry.value)
        rows.append(f"| `{name}` | {value} | {entry.unit} | {source} | {as_markdown(entry.note)} |")
    return rows


def _value(value: Any) -> str:
    """A value of a profile: a number, a list of numbers, or a word."""
    if isinstance(value, tuple):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else f"`{value}`"


def _files() -> str:
    folder = RunFolder(Path("RUN"))
    names = {key: path.name for key, path in vars(folder).items() if key != "path"}
    tables = {
        "folder": "\n".join(_folder_rows(names)),
        "facts": _fields(Facts),
        "page": _fields(NetPage),
        "results": "\n".join(_result_rows()),
        "suffixes": _listed(WRITERS),
        "arrays": _listed(STORE_ARRAYS),
        "index": INDEX,
    }
    return Template(FILES_HEAD).substitute(names | tables)


def _folder_rows(names: dict[str, str]) -> list[str]:
    """A row for each file that the docstring of `RunFolder` describes."""
    described = re.findall(
        r"^        (\w+): (.+(?:\n            .+)*)", RunFolder.__doc__ or "", re.M
    )
    rows = {key: " ".join(text.split()) for key, text in described}
    keys = [key for key in names if key != "pictures"]
    return [f"| `{names[key]}` | {rows[key]} |" for key in keys]


def _fields(model: type[FrozenModel]) -> str:
    """A table of the fields of a part of a config, from their descriptions."""
    fields = model.model_json_schema()["properties"]
    rows = [
        f"| `{name}` | {as_markdown(facts.get('description', ''))} |"
        for name, facts in fields.items()
    ]
    return "\n".join(["| field | meaning |", "|---|---|", *rows])


def _result_rows() -> list[str]:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in RESULT.items()]
    return ["| name | meaning |", "|---|---|", *rows]


def _listed(words: Any) -> str:
    return ", ".join(f"`{word}`" for word in words)
