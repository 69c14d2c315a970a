"""`nwave export --torch` and `--onnx`: one step of a trained net as a file that others run.

Also what all exports of a net for other programs have in common.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import nwavesdk
from nwavesdk.cli.app import print_report
from nwavesdk.internal.files import printable, write_atomically

if TYPE_CHECKING:
    from nwavesdk.data.features import Features
    from nwavesdk.train import TrainedRun

__all__ = ["check_json", "export_step", "late_lines", "open_net", "write_equal"]


def export_step(
    run: Path, net: str | None, out: Path, kind: Literal["torch", "onnx"], as_json: bool
) -> None:
    """Write one step of the net of a run, after the content was read and compared with the net.

    Raises:
        ValueError: If the net cannot be exported.
        RuntimeError: If the steps differ. Nothing is written then.
    """
    from nwavesdk.interop import step_files as files

    trained, model, shape = open_net(run, net)
    step = nwavesdk.interop.step.StepNet(model, shape)
    is_torch = kind == "torch"
    content = (files.torch_bytes if is_torch else files.onnx_bytes)(step, _about(trained))
    function, about = (files.read_torch if is_torch else files.read_onnx)(content)
    check = nwavesdk.interop.step.compare_steps(model, step, function)
    write_equal(out, content, check)

    report = {"path": out, "bytes": len(content), "check": check_json(check), **about}
    sizes = ", ".join(map(str, step.input_shape))
    outputs = " and ".join(step.outputs)
    lines = [
        f"{out}: {len(content):,} bytes, one step of {trained.dt:g} s",
        f"from x [B, {sizes}] and {len(step.states)} states to {outputs}, and the states after it",
        "x is the input of the net: frames on the scale of the run, each held as in it",
        *late_lines(trained),
        f"read back, on random input: {check}",
    ]
    print_report(as_json, report, lines)


def open_net(run: Path, net: str | None) -> "tuple[TrainedRun, Any, tuple[int, ...]]":
    """A trained run, its net as it was built, and the shape of a step of the input of this net."""
    from nwavesdk.train.fit.net_file import FileNet

    trained = nwavesdk.train.load(run, net)
    if isinstance(trained.net, FileNet):
        return trained, trained.net.net, trained.net.inputs
    return trained, trained.net, (len(trained.standard.mean),)


def write_equal(out: Path, content: bytes, check: Any) -> None:
    """Write an exported net that equals the net of the run.

    Args:
        out: The file.
        content: Its content.
        check: The comparison of both nets, with `is_equal`.

    Raises:
        RuntimeError: If they differ. Nothing is written then.
    """
    if not check.is_equal:
        raise RuntimeError(
            f"{printable(out)} is not written: it differs from the net of the run ({check}). This "
            "is a bug in nwavesdk, please report it."
        )
    write_atomically(out, content)


def check_json(check: Any) -> dict[str, Any]:
    """A comparison of two nets; its notes are elsewhere in a report."""
    numbers = {name: value for name, value in vars(check).items() if name != "notes"}
    return {**numbers, "equal": check.is_equal}


def late_lines(trained: "TrainedRun") -> list[str]:
    """What to know of the outputs of a run that looks ahead; nothing of other runs."""
    steps = trained.net_input.look_ahead
    return [f"the output of a step is the class of {steps} steps before"] if steps else []


def _about(trained: "TrainedRun") -> dict[str, Any]:
    """What a reader of the file needs to know of the run; docs/export.md lists the fields."""
    net_input = trained.net_input
    encoder = net_input.encoder
    return {
        "dt": trained.dt,
        "task": trained.task.name,
        "classes": list(trained.classes),
        "kind": trained.kind,
        "features": _describe_features(trained.features),
        "frame_seconds": trained.frame_seconds,
        "mean": [float(value) for value in trained.standard.mean],
        "deviation": [float(value) for value in trained.standard.deviation],
        "center": net_input.center,
        "standardize": net_input.standardize,
        "least_change": trained.standard.least_change,
        "encoder": "current" if encoder is None else type(encoder).__name__.lower(),
        "hold": net_input.hold,
        "length": net_input.length,
        "pads_to_length": net_input.pads_to_length,
        "look_ahead": net_input.look_ahead,
    }


def _describe_features(features: "Features") -> dict[str, Any]:
    """The settings with which a recording becomes frames."""
    from nwavesdk.data.features import NOISE_RATE, ChipFeatures, LogMelFeatures, NoiseFeatures
    from nwavesdk.data.front_end import SILENCE

    if isinstance(features, LogMelFeatures):
        settings = asdict(features.log_mel) | {"level": features.level}
        return {"front_end": "log_mel", **settings, "floor": SILENCE}
    if isinstance(features, ChipFeatures):
        config = features.config
        settings = asdict(config.bank) | {"level": config.level}
        times = {"sim_time_s": config.sim_time_s, "steps": config.T}
        return {"front_end": "filter_bank", **settings, **times}
    rate = {"rate": NOISE_RATE} if isinstance(features, NoiseFeatures) else {}
    return asdict(features) | rate  # type: ignore  # dataclasses
