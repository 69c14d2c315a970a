"""`nwave export --torch` and `--onnx`: one step of a trained net as a file that others run."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nwavesdk.cli.app import print_report
from nwavesdk.internal.files import printable, write_atomically

if TYPE_CHECKING:
    from nwavesdk.data.features import Features
    from nwavesdk.train import TrainedRun

__all__ = ["export_step", "late_lines"]


def export_step(
    run: Path, net: str | None, out: Path, kind: Literal["torch", "onnx"], as_json: bool
) -> None:
    """Write one step of the net of a run, after the content was read and compared with the net.

    Raises:
        ValueError: If the net cannot be exported.
        RuntimeError: If the steps differ. Nothing is written then.
    """
    from nwavesdk.interop.step import StepNet, compare_steps
    from nwavesdk.interop.step_files import onnx_bytes, read_onnx, read_torch, torch_bytes
    from nwavesdk.train import load
    from nwavesdk.train.fit.network import FileNet

    trained = load(run, net)
    model: Any = trained.net
    shape: tuple[int, ...] = (len(trained.standard.mean),)
    if isinstance(model, FileNet):
        shape, model = model.inputs, model.net
    step = StepNet(model, shape)
    write, read = {"torch": (torch_bytes, read_torch), "onnx": (onnx_bytes, read_onnx)}[kind]
    content = write(step, _about(trained))
    function, about = read(content)
    found = compare_steps(model, step, function)
    if not found.is_equal:
        raise RuntimeError(
            f"{printable(out)} is not written: the exported step differs from the net ({found}). "
            "This is a bug in nwavesdk, please report it."
        )
    write_atomically(out, content)
    check = {**vars(found), "equal": found.is_equal}
    report = {"path": out, "bytes": len(content), "check": check, **about}
    sizes = ", ".join(map(str, step.input_shape))
    outputs = " and ".join(step.outputs)
    lines = [
        f"{out}: {len(content):,} bytes, one step of {trained.dt:g} s",
        f"from x [B, {sizes}] and {len(step.states)} states to {outputs}, and the states after it",
        "x is the input of the net: frames on the scale of the run, each held as in it",
        *late_lines(trained),
        f"read back, on random input: {found}",
    ]
    print_report(as_json, report, lines)


def _about(trained: "TrainedRun") -> dict[str, Any]:
    """What a reader of the file needs to know of the run; docs/export.md lists the fields."""
    net_input = trained.input
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
        "encoder": net_input.encoder,
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
        log_mel = features.log_mel
        return {
            "front_end": "log_mel",
            **asdict(log_mel),
            "floor": SILENCE,
            "level": features.level,
        }
    if isinstance(features, ChipFeatures):
        config = features.config
        times = {"sim_time_s": config.sim_time_s, "steps": config.T}
        return {"front_end": "filter_bank", **asdict(config.bank), **times, "level": config.level}
    # All features are dataclasses.
    settings: dict[str, Any] = asdict(features)  # type: ignore[call-overload]
    return settings | ({"rate": NOISE_RATE} if isinstance(features, NoiseFeatures) else {})


def late_lines(trained: "TrainedRun") -> list[str]:
    """What to know of the outputs of a run that looks ahead; nothing of other runs."""
    steps = trained.input.look_ahead
    return [f"the output of a step is the class of {steps} steps before"] if steps else []
