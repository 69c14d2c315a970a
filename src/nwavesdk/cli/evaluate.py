"""`nwave eval`: a trained run on its test set, also with the harness of NeuroBench."""

from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, NetFile, RunPath, app, print_report
from nwavesdk.cli.train import measures_text

__all__ = ["eval_run"]


@app.command("eval")
def eval_run(
    run: RunPath,
    net: NetFile = None,
    neurobench: Annotated[
        bool,
        typer.Option(
            "--neurobench",
            help="Also measure with the harness of NeuroBench, next to our own counts.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the net of RUN from its config and its weights, and test it again."""
    from nwavesdk.data.folder import SKIP_REMEDY
    from nwavesdk.internal.files import FileError
    from nwavesdk.train import Run, RunFolder

    try:
        opened = Run.open(run, net)
        result = opened.test()
    except FileError as error:  # the run is tested on all of its recordings
        raise ValueError(str(error).replace(f"; {SKIP_REMEDY}", "")) from None
    folder = RunFolder(run)
    score = next(iter(result))  # test_accuracy or test_r2
    recorded = folder.read_result().get(score) if folder.finished else None
    count = result["recordings"]
    recordings = f"{count} recording{'' if count == 1 else 's'}"
    text = "none" if recorded is None else f"{recorded:.4f}"
    lines = [f"test {measures_text(result, 'test')} on {recordings} (recorded: {text})"]
    content = {"run": run, **result, f"recorded_{score}": recorded}
    if neurobench:
        measured, table = _neurobench(opened)
        content["neurobench"] = measured
        lines += table
    print_report(as_json, content, lines)


def _neurobench(run: Any) -> tuple[dict[str, Any], list[str]]:
    """What the harness of NeuroBench measures on the test set of a run, as JSON and as lines."""
    from nwavesdk.interop.neurobench_eval import compare_counts

    model, task = run.trained()
    found = compare_counts(model, run.test_set, task)
    width = max(len(row.name) for row in found.rows)
    lines = [f"{'NeuroBench':<{width}}  {'harness':>14}  {'ours':>14}"]
    for row in found.rows:
        reason = f"differ: {row.note}" if row.note else "differ"
        numbers = f"{row.harness:>14,.10g}  {row.ours:>14,.10g}"
        lines.append(f"{row.name:<{width}}  {numbers}  {reason if row.differs else 'equal'}")
    lines.append(f"of {found.recordings} recordings; operations and updates are per recording")
    if found.not_counted:
        lines.append(f"not counted by either: {', '.join(found.not_counted)}")
    content = {
        "recordings": found.recordings,
        "not_counted": list(found.not_counted),
        "numbers": {
            row.name: {"harness": row.harness, "ours": row.ours, "differ": row.differs}
            for row in found.rows
        },
    }
    return content, lines
