"""`nwave export --torch` and `--onnx`: one step of a trained net as a file for other programs.

It also has the common parts of all exports for other programs.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import nwavesdk
from nwavesdk.cli.app import print_report
from nwavesdk.internal.files import printable, write_atomically

__all__ = ["check_json", "decision_json", "export_step", "open_net", "write_export"]


def export_step(
    run: Path,
    net: str | None,
    out: Path,
    kind: Literal["torch", "onnx"],
    as_json: bool,
    *,
    static: bool = False,
    opset: int | None = None,
) -> None:
    """Write one step of the net of a run, after the content was read and compared with the net.

    Args:
        run: Folder of the run.
        net: File of its net, if it has one.
        out: The file.
        kind: Its format.
        as_json: Whether the report is JSON.
        static: Whether a graph of ONNX takes one recording, and is written with examples.
        opset: Version of the operators of ONNX; None for the version that torch takes.

    Raises:
        ValueError: If the net cannot be exported.
        RuntimeError: If the steps differ. Nothing is written then.
    """
    from nwavesdk.interop import step_files as files

    trained, model, shape = open_net(run, net)
    step = nwavesdk.interop.step.StepNet(model, shape)
    about = _about(trained)
    if kind == "torch":
        content, read = files.torch_bytes(step, about), files.read_torch
    else:
        content = files.onnx_bytes(step, about, static=static, opset=opset)
        read = files.read_onnx
    function, about = read(content)
    batch = 1 if static else 4
    check = nwavesdk.interop.step.compare_steps(model, step, function, batch=batch)

    sizes = ", ".join(map(str, step.input_shape))
    lines = [
        f"one step: from x [{1 if static else 'B'}, {sizes}] and {len(step.states)} states to "
        f"{' and '.join(step.outputs)}, and the states after it"
    ]
    examples = out.with_name(f"{out.name}.npz") if static else None
    if examples is not None:
        lines.append(f"inputs and outputs of 100 steps: {examples}")
        about["examples"] = examples
    write_export(out, content, check, trained, about, lines, as_json)
    if examples is not None:
        write_atomically(examples, files.sample_bytes(model, step))


def open_net(
    run: Path, net: str | None
) -> "tuple[nwavesdk.train.TrainedRun, Any, tuple[int, ...]]":
    """A trained run, its net as it was built, and the shape of a step of the input of this net."""
    from nwavesdk.train.fit.network import FileNet

    trained = nwavesdk.train.load(run, net)
    if isinstance(trained.net, FileNet):
        return trained, trained.net.net, trained.net.inputs
    return trained, trained.net, (len(trained.input.standard.mean),)


def write_export(
    out: Path,
    content: bytes,
    check: Any,
    trained: "nwavesdk.train.TrainedRun",
    facts: dict[str, Any],
    lines: list[str],
    as_json: bool,
) -> None:
    """Write an exported net that equals the net of its run, and print a report.

    Args:
        out: The file.
        content: Its content.
        check: The comparison of both nets, with `is_equal`.
        trained: The run.
        facts: Further entries of the report as JSON, next to the file and the comparison.
        lines: Further lines of the report as text.
        as_json: Whether the report is JSON.

    Raises:
        RuntimeError: If the nets differ. Nothing is written then.
    """
    if not check.is_equal:
        raise RuntimeError(
            f"{printable(out)} is not written: it differs from the net of the run ({check}). This "
            "is a bug in nwavesdk, please report it."
        )
    write_atomically(out, content)

    report = {"path": out, "bytes": len(content), "check": check_json(check), **facts}
    report |= decision_json(trained)
    lines = [
        f"{out}: {len(content):,} bytes, steps of {trained.config.net.dt:g} s",
        *lines,
        "its input is the input of the net: frames on the scale of the run, held as in the run",
        f"read by other code, on random input: {check}",
    ]
    if steps := trained.input.look_ahead:
        lines.append(f"the output of a step is the class of {steps} steps before")
    print_report(as_json, report, lines)


def check_json(check: Any) -> dict[str, Any]:
    """A comparison of two nets; its notes are elsewhere in a report."""
    facts = {name: value for name, value in vars(check).items() if name != "notes"}
    return {**facts, "equal": check.is_equal}


def _about(trained: "nwavesdk.train.TrainedRun") -> dict[str, Any]:
    """The facts of a run that a reader of the file needs; docs/export.md lists the fields."""
    net_input, step = trained.input, trained.step_seconds
    return {
        "dt": trained.config.net.dt,
        "task": trained.task.name,
        "classes": list(trained.classes),
        "kind": trained.kind,
        "features": _describe_features(trained.features),
        "frame_seconds": None if step is None else step * net_input.hold,
        "mean": [float(value) for value in trained.input.standard.mean],
        "deviation": [float(value) for value in trained.input.standard.deviation],
        "center": net_input.center,
        "standardize": net_input.standardize,
        "least_change": trained.input.standard.least_change,
        "encoder": net_input.encoder,
        "hold": net_input.hold,
        "length": net_input.length,
        "pads_to_length": net_input.pads_to_length,
        "look_ahead": net_input.look_ahead,
        **decision_json(trained),
    }


def decision_json(trained: "nwavesdk.train.TrainedRun") -> dict[str, Any]:
    """The decision of a run that detects events; empty for other runs."""
    if trained.decision is None:
        return {}
    return {"decision": trained.decision.model_dump(mode="json")}


def _describe_features(features: Any) -> dict[str, Any]:
    """The settings with which a recording becomes frames."""
    from nwavesdk.data.features import NOISE_RATE, ChipFeatures, LogMelFeatures, NoiseFeatures
    from nwavesdk.data.front_end import (
        FIRST_POWER,
        MIN_POWER,
        PRIOR_FRAMES,
        RELATIVE_SILENCE,
        SILENCE,
    )

    if isinstance(features, LogMelFeatures):
        is_running = features.level == "running"
        running = {
            "first_power": FIRST_POWER,
            "least_power": MIN_POWER,
            "prior_frames": PRIOR_FRAMES,
        }
        return {
            "front_end": "log_mel",
            **asdict(features.log_mel),
            "floor": RELATIVE_SILENCE if is_running else SILENCE,
            "level": features.level,
            **(running if is_running else {}),
        }
    if isinstance(features, ChipFeatures):
        config = features.config
        return {
            "front_end": "filter_bank",
            **asdict(config.bank),
            "sim_time_s": config.sim_time_s,
            "steps": config.T,
            "level": config.level,
        }
    rate = {"rate": NOISE_RATE} if isinstance(features, NoiseFeatures) else {}
    return asdict(features) | rate
