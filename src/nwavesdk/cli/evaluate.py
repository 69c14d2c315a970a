"""`nwave eval`: a trained run on its test set, also with the harness of NeuroBench."""

from typing import Annotated, Any

import typer

import nwavesdk
from nwavesdk.cli.app import Json, NetFile, RunPath, aligned, app, print_report
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

    try:
        opened = nwavesdk.train.Run.open(run, net)
        result = opened.test()
    except FileError as error:  # the run is tested on all of its recordings
        raise ValueError(str(error).replace(f"; {SKIP_REMEDY}", "")) from None
    score = next(iter(result))  # test_accuracy or test_r2
    recorded = opened.folder.read_result().get(score) if opened.folder.finished else None
    content = {"run": run, **result, f"recorded_{score}": recorded}
    lines = [
        f"test {measures_text(result, 'test')} on {result['recordings']} recordings (recorded: "
        f"{'none' if recorded is None else format(recorded, '.4f')})"
    ]
    if neurobench:
        content["neurobench"], table = _neurobench(opened)
        lines += table
    print_report(as_json, content, lines)


def _neurobench(run: Any) -> tuple[dict[str, Any], list[str]]:
    """What the harness of NeuroBench measures on the test set of a run, as JSON and as lines."""
    from nwavesdk.interop.neurobench_eval import compare_counts

    model, task = run.trained()
    comparison = compare_counts(model, run.test_set, task)
    rows = [("NeuroBench", "harness", "ours", "")]
    for row in comparison.rows:
        verdict = f"differ {row.note}" if row.differs else "equal"
        rows.append((row.name, f"{row.harness:,.10g}", f"{row.ours:,.10g}", verdict))
    lines = aligned(rows)
    lines.append(f"of {comparison.recordings} recordings; operations and updates are per recording")
    if comparison.not_counted:
        lines.append(f"not counted by either: {', '.join(comparison.not_counted)}")
    content = {
        "recordings": comparison.recordings,
        "not_counted": comparison.not_counted,
        "numbers": {
            row.name: {"harness": row.harness, "ours": row.ours, "differ": row.differs}
            for row in comparison.rows
        },
    }
    return content, lines
