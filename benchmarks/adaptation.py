"""What a trained net gains by adapting to a new speaker: accuracy by the number of recordings.

Run: python -m benchmarks.adaptation --data data/spoken-digits RUN...

A RUN is the folder of `nwave train --data data/spoken-digits --leave-one-out speaker --seed N`.
In each fold, a net adapts to the first recordings of a random order, without their classes, and is
measured on those after the hundredth. `--part val` measures the validation speakers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer

from nwavesdk.train import Run, TrainedRun, load

__all__ = ["accuracies_of"]

COUNTS = (0, 5, 10, 20, 50, 100)


def accuracies_of(
    run: TrainedRun, files: Sequence[Path], counts: Sequence[int] = COUNTS
) -> list[float]:
    """The accuracy of a run after adapting to the first recordings, on the last ones.

    Args:
        run: The run.
        files: Recordings of one speaker, in class folders.
        counts: How many recordings to adapt to; the accuracy is over the recordings after the
            largest.
    """
    rest = files[max(counts) :]
    accuracies = []
    for count in counts:
        adapted = run.adapt(files[:count]) if count else run
        predictions = adapted.predict(rest)
        right = [
            prediction.class_name == file.parent.name
            for prediction, file in zip(predictions, rest, strict=True)
        ]
        accuracies.append(float(np.mean(right)))
    return accuracies


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of cross-validations.")],
    data: Annotated[Path, typer.Option(help="The data of the runs.")],
    part: Annotated[
        Literal["test", "val"], typer.Option(help="The set with the speaker.")
    ] = "test",
) -> None:
    """Print the accuracy of each fold and the mean, by the number of recordings."""
    torch.set_num_threads(1)
    rows = []
    for run in runs:
        for number, fold in enumerate(sorted(run.glob("fold-[0-9]")), start=1):
            opened = Run.open(fold)
            series = opened.test_set if part == "test" else opened.data.val
            keys = sorted(series.recordings.keys)
            order = np.random.default_rng(100 + number).permutation(len(keys))
            rows.append(accuracies_of(load(fold), [data / keys[index] for index in order]))
            print(fold, *(f"{100 * value:.1f}" for value in rows[-1]))
    print("recordings", *COUNTS)
    print("mean", *(f"{100 * value:.2f}" for value in np.mean(rows, axis=0)))


if __name__ == "__main__":
    typer.run(main)
