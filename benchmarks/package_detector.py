"""Make the detector of wake words that is part of the package from a trained run.

    python -m benchmarks.package_detector runs/wake-words

The run was trained on the folder that `benchmarks.wake_words` makes, which must be where it was.
Weights are rounded to 16 bits, and the stored decision is measured with them on the streams of the
run. The folder has `config.json` without a path, `model.safetensors`, `result.json`, and
`README.md`, which is the text in `wake_words.md` with the measured numbers.
"""

import argparse
import copy
import shutil
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from nwavesdk.cli.train import measures_text
from nwavesdk.data.composed import ComposedSeries
from nwavesdk.train import CompletedConfig, Run, RunFolder, TrainedRun
from nwavesdk.train.apply.detections import SetDetections
from nwavesdk.train.fit.model_file import save_model
from nwavesdk.train.run_folder import PACKAGED

__all__ = ["main", "package", "probe_scores", "without_paths"]

NAME = "wake-words"
README = Path(__file__).with_name("wake_words.md")

# Fields of the result of a run that the result of the folder has, too.
FIELDS = ("seed", "epochs", "parameters", "rates", "decision")


def without_paths(config: CompletedConfig) -> CompletedConfig:
    """The config of a run on wake words with names instead of paths.

    Raises:
        ValueError: If a path is left.
    """
    updates = {
        "data": config.data.model_copy(update={"source": NAME, "split": "split.csv"}),
        "page": config.page.model_copy(update={"file": Path(config.page.file).name}),
        # The reason may name a file.
        "facts": config.facts.model_copy(update={"split_reason": config.facts.split_by}),
    }
    named = config.model_copy(update=updates)
    lines = [line.strip() for line in named.model_dump_json(indent=2).splitlines() if "/" in line]
    if lines:
        raise ValueError(f"config.json would have a path: {', '.join(lines)}")
    return named


def probe_scores(run: TrainedRun) -> list[float]:
    """The mean score of each class for two seconds of noise that becomes louder.

    By these numbers, a test sees that a later version of the package computes the same.
    """
    count = 2 * run.sample_rate
    noise = np.random.default_rng(0).standard_normal(count) * np.linspace(0, 0.3, count)
    scores = run.stream().push(noise.astype(np.float32))
    return [round(float(score), 4) for score in scores.values.mean(axis=0)]


def package(path: Path, folder: Path = PACKAGED / NAME) -> dict[str, Any]:
    """Write the folder of a trained detector, and return its result.

    Args:
        path: The run, with its data where they were.
        folder: The folder, which is replaced if it exists.
    """
    run = Run.open(path)
    streams, train, recorded = run.data.streams, run.data.train, run.folder.read_result()
    assert streams is not None
    assert isinstance(train, ComposedSeries)

    trained = run.trained()
    net, decision = trained.net, trained.decision
    assert decision is not None
    rounded = copy.deepcopy(net).half()
    net.load_state_dict(rounded.state_dict())

    result = {name: recorded[name] for name in FIELDS} | {"probe": probe_scores(trained)}
    for name, sounds in (("val", streams.val), ("test", streams.test)):
        if sounds is not None:
            detections = SetDetections.of(trained, decision, sounds, train.framing)
            result |= detections.fields(name)

    config = without_paths(run.config)
    shutil.rmtree(folder, ignore_errors=True)
    target = RunFolder(folder)
    target.begin(config)
    save_model(target.model, rounded, run.data.standard, target.identity, trained.task.targets)
    target.write_result(result, target.identity)

    *words, last = run.classes[1:]
    text = Template(README.read_text(encoding="utf-8")).substitute(
        words=f"{', '.join(words)} and {last}",
        version=config.facts.begun_with.nwavesdk,
        measures=measures_text(result).capitalize(),
        **{name: f"{result[name]:,}" for name in ("seed", "epochs", "parameters")},
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with the arguments of the command line."""
    parser = argparse.ArgumentParser(description="Make the packaged detector of wake words.")
    parser.add_argument("run", type=Path, help="folder of a trained detector, with its data")
    result = package(parser.parse_args(arguments).run)
    print(f"{PACKAGED / NAME}: {measures_text(result)}")


if __name__ == "__main__":
    main()
