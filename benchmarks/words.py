"""Spoken words as log-mel frames, for programs that train on them."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from nwavesdk.data import LogMel

__all__ = ["BANDS", "load_words"]

BANDS = 40


def load_words(folder: Path) -> tuple[Tensor, Tensor]:
    """Log power [n, 98, 40] of the first second of each recording, and labels [n].

    Args:
        folder: One set: a folder with a folder of FLAC files for each word.
    """
    frames = []
    labels = []
    for label, word in enumerate(sorted(path.name for path in folder.iterdir())):
        for path in sorted((folder / word).glob("*.flac")):
            sound, rate = soundfile.read(path, dtype="float32")
            second = np.pad(sound[:rate], (0, max(0, rate - len(sound))))
            frames.append(LogMel(rate, bands=BANDS)(second))
            labels.append(label)
    return torch.tensor(np.stack(frames)), torch.tensor(labels)
