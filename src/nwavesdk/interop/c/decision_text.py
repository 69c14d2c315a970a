"""The decision of a detector in C: `NAME_decision.h`, and how a program prints detections."""

from importlib import resources
from typing import Any

from nwavesdk.interop.c.tables import c_float, c_string
from nwavesdk.train import Decision, TrainedRun

__all__ = ["decision_header", "decision_of_run", "step_texts"]

HEADER = """\
/* The detections of a stream, written by nwavesdk. */
#ifndef NET_DECISION_H
#define NET_DECISION_H

#include <math.h>
#include <stdint.h>
#include <string.h>

{constants}

static const char *const net_events[] = {{{events}}};

{runtime}
#endif
"""


# Parts of a program that runs a net: the text that prints after a step, and what it needs for it.
OUTPUTS = {
    "include": "",
    "state": "",
    "start": "",
    "after": """\
            for (int i = 0; i < NET_OUTPUTS; i++) printf("%.9g ", (double)outputs[i]);
            printf("\\n");
""",
}
DETECTIONS = {
    "include": '#include "net_decision.h"\n',
    "state": "static net_decision decision;\n",
    "start": "    net_decision_init(&decision);\n",
    "after": """\
            const int event = net_decide(&decision, outputs);
            if (event >= 0)
                printf("%9.2f s  %s  %.1f\\n", net_seconds(&decision), net_events[event],
                       (double)decision.smoothed[event]);
""",
}


def decision_header(
    decision: Decision,
    *,
    frame: tuple[float, float, float],
    hold: int = 1,
    block_steps: int = 1,
    logit: float = 1.0,
    name: str = "net",
) -> str:
    """The text of `NAME_decision.h`: the constants of a decision, and its functions.

    Args:
        decision: The decision.
        frame: Distance between two frames and length of a frame [samples], and their rate [Hz].
        hold: Steps of the net for each frame.
        block_steps: Steps of the blocks of `nwave detect`, in which dead times are measured.
        logit: The logit of a class for an output of 1.
        name: Prefix of the functions.
    """
    hop, width, rate = (repr(float(value)) for value in frame)
    constants = {
        "EVENTS": len(decision.events),
        "SMOOTHED": decision.smoothed_steps,
        "THRESHOLD": c_float(decision.threshold),
        "RELEASE": c_float(decision.release),
        "DEAD_TIME": repr(float(decision.dead_time)),
        "FRAME_HOP": hop,
        "FRAME_WIDTH": width,
        "FRAME_RATE": rate,
        "HOLD": hold,
        "BLOCK_STEPS": block_steps,
        "LOGIT": c_float(logit),
    }

    runtime = resources.files(__package__).joinpath("decision.h").read_text(encoding="utf-8")
    text = HEADER.format(
        constants="\n".join(f"#define NET_{key} {value}" for key, value in constants.items()),
        events=", ".join(map(c_string, decision.events)),
        runtime=runtime,
    )
    return with_prefix(text, name)


def decision_of_run(trained: TrainedRun) -> str:
    """The text of `net_decision.h` of a run that detects events in sound or in series."""
    decision, hold = trained.decision, trained.input.hold
    decoder: Any = trained.task.decoder()
    assert decision is not None

    if trained.kind == "sound":
        log_mel: Any = trained.front_end
        frame = log_mel.step, log_mel.width, log_mel.sample_rate
    else:
        seconds = decision.step_seconds * hold
        frame = seconds, seconds, 1.0

    return decision_header(
        decision,
        frame=frame,
        hold=hold,
        block_steps=trained.block_steps or 1,
        logit=decoder.scale,
    )


def step_texts(name: str, *, detects: bool) -> dict[str, str]:
    """Parts of a program that prints detections or outputs.

    Args:
        name: Prefix of the functions.
        detects: Whether it prints detections.
    """
    texts = DETECTIONS if detects else OUTPUTS
    return {key: with_prefix(text, name) for key, text in texts.items()}


def with_prefix(text: str, name: str) -> str:
    """A text with another prefix in place of `net_` and `NET_`."""
    return text.replace("net_", f"{name}_").replace("NET_", f"{name.upper()}_")
