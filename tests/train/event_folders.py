"""Small folders of sound with events: tones as events, noise as background."""

from pathlib import Path

import numpy as np

RATE = 8000
PITCHES = {"high": 1200.0, "low": 400.0}
TONE_SECONDS = 0.3


def tone(name: str, level: float = 0.3) -> np.ndarray:
    times = np.arange(round(TONE_SECONDS * RATE)) / RATE
    return level * np.sin(2 * np.pi * PITCHES[name] * times)


def write_sound(path: Path, samples: np.ndarray) -> None:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, RATE, "FLOAT")


def write_events(folder: Path, events: int = 6, background: int = 6, seconds: float = 12.0) -> Path:
    """A folder with a class for each tone, and with noise in `background/noise/`.

    Args:
        folder: The folder.
        events: Recordings of each class.
        background: Recordings of noise.
        seconds: The length of a recording of noise [s].
    """
    draw = np.random.default_rng(0)
    for name in PITCHES:
        for index in range(events):
            before = np.zeros(int(draw.integers(800, 2400)))
            samples = np.concatenate([before, tone(name), np.zeros(800)])
            write_sound(folder / name / f"{index}.wav", samples)
    for index in range(background):
        noise = 0.05 * draw.standard_normal(round(seconds * RATE))
        write_sound(folder / "background" / "noise" / f"{index}.wav", noise)
    return folder


def write_timed(folder: Path, files: int = 6, seconds: float = 12.0) -> Path:
    """Recordings with a tone of each class inside; return the table of their times."""
    draw = np.random.default_rng(0)
    lines = ["file,start,end,event"]
    for index in range(files):
        samples = 0.02 * draw.standard_normal(round(seconds * RATE))
        for number, name in enumerate(PITCHES):
            start = 2.0 + 5 * number + 0.25 * index
            first = round(start * RATE)
            samples[first : first + round(TONE_SECONDS * RATE)] += tone(name)
            lines.append(f"rooms/{index}.wav,{start},{start + TONE_SECONDS},{name}")
        write_sound(folder / "rooms" / f"{index}.wav", samples)
    table = folder / "times.csv"
    table.write_text("\n".join(lines))
    return table
