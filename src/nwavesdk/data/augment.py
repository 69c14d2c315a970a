"""Augmentation: random changes of training recordings that do not change their meaning.

Design requirements:

- A change acts on the frames of one recording before they are scaled, and on the target of its
  steps where it moves them in time.
- All random numbers come from the generator of the caller, so a recording of an epoch is the same
  in every process.
- Events change as lists; frames of events are made from the changed list.
"""

from typing import Any

import numpy as np

from nwavesdk.data.front_end import is_steady
from nwavesdk.data.recordings import Frames
from nwavesdk.data.source import StepTarget
from nwavesdk.data.variations import AUGMENTATIONS, CHANGES, AugmentedKind, Varied
from nwavesdk.internal.checks import choice, close_name, finite_number, shown

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "AugmentedKind",
    "Varied",
    "default_augmentation",
]

# Bounds of strengths, where the bound is not "at most 1". With a strength of 1, some changes would
# leave nothing or make a length infinite. Beyond the other bounds, the unit is probably wrong.
BOUNDS: dict[str, dict[str, Any]] = {
    **{name: {"below": 1.0} for name in ("shift", "speed", "warp", "zoom")},
    "noise": {"most": 100.0},
    "gain": {"most": 60.0},
    "scale": {"most": 3.0},
    "jitter": {"most": 10.0},
    "rotate": {"most": 180.0},
    "move": {"most": 1e4},
    "spread": {"most": 1e4},
}

# The default changes of training, chosen on validation sets. The quietest noise is below the floor
# of log-mel frames, so that some changed recordings are clean.
DEFAULTS: dict[AugmentedKind, dict[str, float]] = {
    "sound": {
        "shift": 0.12,
        "speed": 0.15,
        "warp": 0.1,
        "noise": 10,
        "gain": 3,
        "time_mask": 0.15,
        "band_mask": 0.15,
    },
    "channels": {},
    "series": {"shift": 0.1, "scale": 0.05, "jitter": 0.05},
    "image": {},
    "events": {"move": 2, "drop": 0.3, "speed": 0.1},
}

OWNER = "data.augment"


class Augmentation:
    """How strongly recordings of one kind change at random; a strength of 0 turns a change off.

    `docs/augmentation.md` lists the changes of each kind. A sound that hardly varies over time,
    such as silence, is not changed.

    Args:
        kind: The kind of the recordings.
        shift: Largest shift in time, as a fraction of the recording. Frames that leave one end are
            lost.
        speed: Largest relative change of speed.
        warp: Largest relative stretch of the axis of bands, as by another vocal tract.
        noise: Lowest ratio of the mean powers of a sound and of the added noise [dB]; it is uniform
            from there to 30 dB above.
        gain: Standard deviation of the change in loudness [dB].
        scale: Standard deviation of the logarithm of a factor for each feature, about its mean over
            the recording.
        jitter: White noise, as a fraction of the deviation of each feature over the recording, or
            of all pixels of an image.
        spread: Standard deviation of a shift in time of each event [steps].
        drop: Largest fraction of the events that are removed.
        rotate: Largest angle by which the picture turns about its center [degrees].
        zoom: Largest relative change of the height and of the width.
        move: Largest shift of the pixels in x and in y [pixels]; of a sensor with one axis, of its
            channels.
        flip: Probability of a mirror image, left for right.
        erase: Largest height and width, as fractions, of a rectangle that gets one random color.
        time_mask: Longest of two masks, as a fraction of the recording. Masked frames become its
            mean; masked events are removed.
        band_mask: Like `time_mask`, along bands or channels.

    Attributes:
        kind: The kind of the recordings.
        strengths: The strength of each change that is on.

    Raises:
        ValueError: If a strength is negative or too large, or the kind has no such change.

    Example:
        >>> Augmentation("sound", shfit=0.1)
        Traceback (most recent call last):
        ValueError: data.augment: there is no 'shfit' for sound, did you mean 'shift'?: ...
        >>> frames = np.arange(6, dtype=np.float32).reshape(3, 2)
        >>> louder = Augmentation("sound", gain=3.0)
        >>> changed = louder.apply(frames, None, (2,), np.random.default_rng(0)).frames
        >>> bool(np.ptp(changed - frames) < 1e-6)
        True
    """

    def __init__(self, kind: AugmentedKind, /, **strengths: float) -> None:
        names = AUGMENTATIONS[choice(OWNER, "kind", kind, tuple(AUGMENTATIONS))]  # type: ignore[index]  # one of them
        for name, strength in strengths.items():
            if name not in names:
                raise ValueError(
                    f"{OWNER}: there is no {shown(name)} for {kind}{close_name(name, names)}: "
                    f"it has {', '.join(names)}."
                )
            finite_number(OWNER, name, strength, least=0, **BOUNDS.get(name, {"most": 1.0}))

        self.kind = kind
        self.strengths = {name: float(strengths[name]) for name in names if strengths.get(name)}

    def apply(
        self,
        frames: Frames,
        target: StepTarget | None,
        shape: tuple[int, ...],
        generator: np.random.Generator,
    ) -> Varied:
        """A changed copy of a recording of frames.

        Args:
            frames: `[L, F]`, not of events.
            target: The target of each frame, `[L]` or `[L, D]`; None if frames have none.
            shape: Shape of the features of a frame, such as `(40,)` or `(28, 28)`.
            generator: Where the random numbers come from.
        """
        return self.change(Varied(frames, len(frames), target, shape), generator)

    def change(self, varied: Varied, generator: np.random.Generator) -> Varied:
        """A changed copy of a recording.

        Args:
            varied: Frames, or events if the kind is `"events"`.
            generator: Where the random numbers come from.
        """
        # Standardization of a recording would amplify the noise that is added to silence. The net
        # would never see silence in training as it sees it in use.
        if self.kind == "sound" and is_steady(varied.values):
            return varied

        # The functions of `variations` take images and events on their axes.
        if self.kind == "image":
            varied = varied._replace(values=varied.values.reshape(varied.steps, *varied.shape))
        if varied.are_events:
            varied = varied.on_axes()

        for names, change in CHANGES[self.kind].items():
            strengths = [self.strengths.get(name, 0.0) for name in names]
            if any(strengths):
                result = change(varied, generator, *strengths)
                varied = result if isinstance(result, Varied) else varied._replace(values=result)
        return varied.in_order() if varied.are_events else varied


def default_augmentation(kind: AugmentedKind) -> dict[str, float]:
    """The strengths that training uses for a kind of recording by default.

    Example:
        >>> default_augmentation("channels")
        {}
    """
    return dict(DEFAULTS[kind])
