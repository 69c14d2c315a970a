"""The picture of the augmentation of a sound."""

import numpy as np
from matplotlib.figure import Figure

from nwavesdk.data import Augmentation, Frames, LogMel, default_augmentation

__all__ = ["augmentation"]

RATE = 16_000

# Changes, and the seed of an example that shows them well.
PANELS: dict[str, tuple[dict[str, float], int]] = {
    "as recorded": ({}, 0),
    "shift": ({"shift": 0.3}, 2),
    "speed": ({"speed": 0.3}, 3),
    "warp": ({"warp": 0.25}, 3),
    "noise": ({"noise": 10}, 2),
    "time_mask": ({"time_mask": 0.15}, 0),
    "band_mask": ({"band_mask": 0.15}, 4),
    "all defaults": (default_augmentation("sound"), 7),
}


def spoken() -> Frames:
    """Frames of a sound with two syllables: harmonics with moving formants, between pauses."""
    time = np.arange(RATE) / RATE
    pitch = 130 - 25 * time
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    loudness = np.exp(-(((time - 0.35) / 0.09) ** 4)) + 0.7 * np.exp(-(((time - 0.68) / 0.1) ** 4))
    formants = (500 + 250 * np.sin(5 * time), 1500 + 700 * np.cos(6 * time), 3200 - 500 * time)
    sound = np.zeros(RATE)
    for harmonic in range(1, 40):
        frequency = harmonic * pitch
        power = sum(np.exp(-(((frequency - each) / 180) ** 2)) for each in formants)
        sound += (power + 0.02) / harmonic**0.5 * np.sin(harmonic * phase)
    sound *= loudness / np.abs(sound * loudness).max()
    return LogMel(RATE, bands=40)(sound.astype(np.float32))


def augmentation() -> Figure:
    """What each change makes of a sound, and all of them together."""
    frames = spoken()
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(2, 4, sharex=True, sharey=True).flatten()
    for axes, (title, (strengths, seed)) in zip(panels, PANELS.items(), strict=True):
        change = Augmentation("sound", **strengths)
        changed = change.apply(frames, None, (40,), np.random.default_rng(seed)).frames
        limits = {"vmin": frames.min(), "vmax": frames.max()}
        axes.imshow(changed.T, origin="lower", aspect="auto", cmap="magma", **limits)
        axes.set_title(title, fontsize=10)
    panels[0].set(ylabel="band", xlim=(0, 131))
    panels[4].set(ylabel="band", xlabel="frame")
    return figure
