"""Random changes of training recordings, so that a net learns what does not matter.

Design requirements:

- A change acts on the frames of one recording before they are scaled, and on the target of its
  steps where it moves them in time.
- All that is random comes from the generator that is given, so a recording of an epoch is the same
  in every process.
- Events change as lists; frames of events are made of the changed list.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from nwavesdk.data.front_end import is_steady
from nwavesdk.data.recordings import Frames, Pairs
from nwavesdk.data.source import StepTarget
from nwavesdk.data.variations import AUGMENTATIONS, CHANGES, AugmentedKind, Varied, VariedEvents
from nwavesdk.internal.checks import choice, close_name, finite_number, shown

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "AugmentedKind",
    "Varied",
    "VariedEvents",
    "default_augmentation",
]

# The largest strength of a change, where it is not 1: beyond it, the unit is wrong.
MOST = {
    **{"noise": 100.0, "gain": 60.0, "scale": 3.0, "jitter": 10.0},
    **{"rotate": 180.0, "move": 1e4, "spread": 1e4},
}
# Strengths below 1: with 1, nothing would be left, or a length would be infinite.
BELOW_1 = ("shift", "speed", "warp", "zoom")

# The default changes of training, chosen on validation sets. The range of noise ends
# where it is below the floor of log-mel frames, so that clean recordings stay among the changed.
DEFAULTS: dict[AugmentedKind, dict[str, float]] = {
    "sound": {
        **{"shift": 0.12, "speed": 0.15, "warp": 0.1, "noise": 10, "gain": 3},
        **{"time_mask": 0.15, "band_mask": 0.15},
    },
    "channels": {},
    "series": {"shift": 0.1, "scale": 0.05, "jitter": 0.05},
    "image": {},
    "events": {"move": 2, "drop": 0.3, "speed": 0.1},
}

OWNER = "data.augment"


@dataclass(frozen=True)
class Augmentation:
    """How strongly recordings of one kind change at random; 0 turns a change off.

    `AUGMENTATIONS` lists the changes of each kind. They are applied in the order of the fields. A
    sound that hardly varies over time (`is_steady`), such as silence, is not changed.

    Args:
        kind: What the recordings are.
        shift: Largest shift in time, as a fraction of the recording. What leaves one end is lost;
            the other end is filled with the quietest frame of a sound and with the outermost frame
            of a series.
        speed: Largest relative change of speed. Frames are interpolated; their number changes.
        warp: Largest relative stretch of the axis of bands, as by a longer or shorter vocal tract.
        noise: Lowest ratio of the mean power of a sound to that of the noise that is added [dB].
            The ratio is uniform from there to 30 dB above; the spectrum of the noise is tilted at
            random.
        gain: Standard deviation of the change in loudness [dB].
        scale: Standard deviation of the logarithm of a factor for each feature, about its mean over
            the recording.
        jitter: White noise, as a fraction of the deviation of each feature over the recording, or
            of all pixels of an image.
        spread: Standard deviation of a shift in time of each event [steps].
        drop: Largest fraction of the events that are left out.
        rotate: Largest angle by which the picture turns about its center [degrees]. Events of a
            sensor with one axis do not turn; `nwave train` refuses the change.
        zoom: Largest relative change of the height and of the width, which are drawn separately.
        move: Largest shift of the pixels in x and in y [pixels]; of a sensor with one axis, of its
            channels.
        flip: Probability of a mirror image, left for right.
        erase: Largest height and width of a rectangle that gets one random color, as fractions of
            those of the image.
        time_mask: Longest part that is masked, as a fraction of the recording; there are two masks.
            Masked frames are the mean of the recording; masked events are left out.
        band_mask: As `time_mask`, along bands or channels.

    Raises:
        ValueError: If a strength is negative or too large, or has no effect on this kind.

    Example:
        >>> frames = np.arange(6, dtype=np.float32).reshape(3, 2)
        >>> louder = Augmentation("sound", gain=3.0)
        >>> changed = louder.apply(frames, None, (2,), np.random.default_rng(0)).frames
        >>> bool(np.ptp(changed - frames) < 1e-6)
        True
    """

    kind: AugmentedKind
    shift: float = 0.0
    speed: float = 0.0
    warp: float = 0.0
    noise: float = 0.0
    gain: float = 0.0
    scale: float = 0.0
    jitter: float = 0.0
    spread: float = 0.0
    drop: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    move: float = 0.0
    flip: float = 0.0
    erase: float = 0.0
    time_mask: float = 0.0
    band_mask: float = 0.0

    def __post_init__(self) -> None:
        allowed = AUGMENTATIONS[choice(OWNER, "kind", self.kind, tuple(AUGMENTATIONS))]  # type: ignore[index]  # one of them
        for field in fields(self)[1:]:
            name = field.name
            given = getattr(self, name)
            below = 1.0 if name in BELOW_1 else math.inf
            most = MOST.get(name, 1.0)
            strength = finite_number(OWNER, name, given, least=0, below=below, most=most)
            if strength and name not in allowed:
                raise ValueError(_no_such_change(self.kind, name))
            object.__setattr__(self, name, strength)

    @classmethod
    def of(cls, kind: AugmentedKind, strengths: Mapping[str, float]) -> "Augmentation":
        """The changes with these names and strengths.

        Args:
            kind: What the recordings are.
            strengths: The strength of each change; those without a name are off.

        Raises:
            ValueError: If there is no such change for this kind, or its strength is out of range.

        Example:
            >>> Augmentation.of("sound", {"shfit": 0.1})
            Traceback (most recent call last):
            ValueError: data.augment: there is no 'shfit' for sound, did you mean 'shift'?: ...
        """
        for name in strengths:
            if name not in AUGMENTATIONS[kind]:
                raise ValueError(_no_such_change(kind, name))
        return cls(kind, **strengths)

    @property
    def strengths(self) -> dict[str, float]:
        """The strength of each change that is on."""
        values = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {name: strength for name, strength in values.items() if strength}

    def apply(
        self,
        frames: Frames,
        target: StepTarget | None,
        shape: tuple[int, ...],
        generator: np.random.Generator,
    ) -> Varied:
        """A changed recording; the one that is given stays unchanged.

        Args:
            frames: `[L, F]`, not of events.
            target: The target of each frame, `[L]` or `[L, D]`; None if frames have none.
            shape: Shape of the features of a frame, such as `(40,)` or `(28, 28)`.
            generator: Where the random numbers come from.
        """
        varied: Varied = self.change(Varied(frames, target, shape), generator)
        return varied

    def apply_to_events(
        self,
        pairs: Pairs,
        steps: int,
        target: StepTarget | None,
        shape: tuple[int, ...],
        generator: np.random.Generator,
    ) -> VariedEvents:
        """A changed recording of events; the one that is given stays unchanged.

        Args:
            pairs: Step and place of each event, int32 `[n, 2]`, as `bin_events` returns them.
            steps: Number of steps.
            target: The target of each step, `[L]` or `[L, D]`; None if steps have none.
            shape: Size of the sensor, such as `(2, 34, 34)` for polarity, y and x.
            generator: Where the random numbers come from.
        """
        varied: VariedEvents = self.change(VariedEvents(pairs, steps, target, shape), generator)
        return varied

    def change(self, recording: Varied | VariedEvents, generator: np.random.Generator) -> Any:
        """A changed recording; the one that is given stays unchanged.

        Args:
            recording: Frames, or events if the kind is `"events"`.
            generator: Where the random numbers come from.

        Returns:
            Frames or events, as they are given.
        """
        if isinstance(recording, Varied) and self.kind == "sound" and is_steady(recording.frames):
            # Noise would change silence a little, and standardizing by recording would scale the
            # change up: a net would never see in training what silence is in use.
            return recording
        for names, change in CHANGES[self.kind].items():
            strengths = [getattr(self, name) for name in names]
            if any(strengths):
                recording = change(recording, generator, *strengths)
        if isinstance(recording, VariedEvents) and self.strengths:
            recording = recording.in_order()
        return recording


def default_augmentation(kind: AugmentedKind) -> dict[str, float]:
    """The strengths that training uses for a kind of recording, unless others are given.

    Example:
        >>> default_augmentation("channels")
        {}
    """
    return dict(DEFAULTS[kind])


def _no_such_change(kind: AugmentedKind, name: str) -> str:
    names = AUGMENTATIONS[kind]
    return (
        f"{OWNER}: there is no {shown(name)} for {kind}{close_name(name, names)}: "
        f"it has {', '.join(names)}."
    )
