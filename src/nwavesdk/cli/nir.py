"""`nwave import`, `nwave nir check` and `nwave export --nir`: nets as NIR graphs."""

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nwavesdk.cli.app import (
    Json,
    NetFile,
    app,
    checked_option,
    folder_option,
    print_report,
    split_commas,
)
from nwavesdk.cli.step import late_lines
from nwavesdk.internal.checks import seed_number, shown
from nwavesdk.internal.files import FileError, printable, read_bytes, write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Allow", "Discretization", "check_nir", "export_nir", "import_nir"]

Discretization = Literal["exact", "euler"]
SourceName = Literal["norse", "rockpool", "sinabs", "snntorch", "spikingjelly"]

GraphFile = Annotated[Path, typer.Argument(metavar="FILE", help="A NIR graph, as of nir.write.")]
Step = Annotated[float, typer.Option("--dt", min=1e-12, max=1e6, help="Length of a step [s].")]
Solved = Annotated[
    Discretization, typer.Option("--discretization", help="How the equations are solved.")
]
SourceOption = Annotated[
    SourceName | None,
    typer.Option(
        "--source", help="The library that wrote FILE, if its files do not mean what NIR says."
    ),
]
Allow = Annotated[
    str | None,
    typer.Option(
        "--allow",
        metavar="NAME[,NAME]",
        help="What NIR does not have: soft-reset (a spike subtracts the threshold), and for "
        "--source snntorch also delayed-reset (one step later).",
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input-shape",
        metavar="N[,N…]",
        help="Shape of a step of the input, as in 2,34,34, for a FILE without it.",
    ),
]

PAGE_NAME, GRAPH_NAME = "net.py", "net.nir"
MOST_BYTES = 2**31

# The text has no name or text of the file in it: a page is code.
PAGE = '''"""A net that `nwave import` has read from a NIR graph.

`nwave train --net {page}:build` trains it, with the weights of the graph as initial ones. The file
{graph} belongs next to this page.
"""

from hashlib import sha256
from pathlib import Path

from torch import nn

from nwavesdk.interop.nir import from_nir
from nwavesdk.surrogate import parse
from nwavesdk.train import RunConfig

GRAPH = Path(__file__).with_name("{graph}")
SHA256 = "{sha256}"


def build(inputs: tuple[int, ...], classes: int, config: RunConfig) -> nn.Module:
    """Build the net; inputs and outputs are those of the graph."""
    if sha256(GRAPH.read_bytes()).hexdigest() != SHA256:
        raise ValueError(f"{{GRAPH}} has changed: restore it, or import the graph again.")
    return from_nir(
        GRAPH,
        dt={dt!r},
        discretization={discretization!r},
        source={source!r},
        allow={allow!r},
        spike_grad=parse(config.net.surrogate),
        input_shape={input_shape!r},
    )
'''


@app.command("import")
def import_nir(
    file: GraphFile,
    dt: Step,
    discretization: Solved,
    source: SourceOption = None,
    allow: Allow = None,
    input_shape: InputShape = None,
    out: Annotated[
        Path | None, folder_option("Write net.py and net.nir, for `nwave train --net DIR/net.py`.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import a NIR graph: print its layers and every assumption; write a page to train it."""
    from nwavesdk.interop.nir import SpikingGraph, check, import_graph

    options = _options(dt, discretization, source, allow)
    shape = _shape_of(input_shape)
    page, graph = (None, None) if out is None else (out / PAGE_NAME, out / GRAPH_NAME)
    for target in (page, graph):
        if target is not None and target.exists():
            raise FileError(target, "exists", "choose another folder for --out")
    loaded = import_graph(file, **options, input_shape=shape)
    found = check(file, **options, input_shape=shape)
    n_parameters = sum(parameter.numel() for parameter in loaded.net.parameters())
    if page is not None and graph is not None:
        content = read_bytes(file, MOST_BYTES)
        digest = sha256(content).hexdigest()
        text = PAGE.format(
            page=PAGE_NAME, graph=GRAPH_NAME, sha256=digest, input_shape=shape, **options
        )
        write_atomically(graph, content)
        write_atomically(page, text.encode())
    report = {
        "file": file,
        "layers": {name: type(module).__name__ for name, module in loaded.net.named_children()},
        "parameters": n_parameters,
        "notes": list(loaded.notes),
        "check": _check_content(found),
        "page": page,
    }
    lines = str(loaded.net).splitlines()
    lines += loaded.net.connections() if isinstance(loaded.net, SpikingGraph) else []
    lines += loaded.notes
    lines.append(f"against a reader that shares no code, on random input: {found}")
    if page is not None:
        lines.append(f"written to {page} and {GRAPH_NAME}: nwave train --net {page}:build")
    print_report(as_json, report, lines)
    raise typer.Exit(0 if found.is_equal else 1)


@app.command("nir")
def check_nir(
    action: Annotated[
        Literal["check"], typer.Argument(metavar="check", help="The only action so far.")
    ],
    file: GraphFile,
    dt: Step,
    discretization: Solved,
    source: SourceOption = None,
    allow: Allow = None,
    against: Annotated[
        Path | None,
        checked_option(
            metavar="RUN",
            help="Compare the trained net of a run, on recordings of its validation set. [the net "
            "that `nwave import` makes, on random input]",
        ),
    ] = None,
    recordings: Annotated[
        int, typer.Option(min=1, max=100_000, help="Recordings of the comparison.")
    ] = 8,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=2**32 - 1, help="Seed of random input; not with --against. [default: 0]"
        ),
    ] = None,
    net: NetFile = None,
    as_json: Json = False,
) -> None:
    """Replay a NIR graph with an independent reader; exit code 1 if a spike differs.

    `nwave nir check FILE --dt 1e-3 --discretization exact --against RUN`
    """
    from nwavesdk.interop.nir import check

    del action
    options = _options(dt, discretization, source, allow)
    if against is None:
        if net is not None:
            raise ValueError("--net: has no effect without --against: leave it out.")
        seed = seed_number("--seed", seed or 0)
        found = check(file, **options, batch=recordings, seed=seed)
        what = f"random input, seed {seed}"
    else:
        if seed is not None:
            raise ValueError("--seed: has no effect with --against: leave it out.")
        trained, x = _validation_input(against, net, recordings)
        found = check(file, **options, net=trained, x=x)
        recordings = len(x)
        what = f"{recordings} recordings of the validation set of {against}"
    report: dict[str, Any] = {"file": file, "against": against, "recordings": recordings}
    report |= {**_check_content(found), "notes": list(found.notes)}
    print_report(as_json, report, [*found.notes, f"{what}: {found}"])
    raise typer.Exit(0 if found.is_equal else 1)


def export_nir(
    run: Path,
    net: str | None,
    out: Path,
    discretization: Discretization | None,
    allow: str | None,
    as_json: bool,
) -> None:
    """Write the net of a run as a NIR graph, after its spikes were compared with a reader's.

    Raises:
        ValueError: If the net has something that NIR does not have.
        RuntimeError: If a spike differs. Nothing is written then.
    """
    from nwavesdk.interop.nir import check, export_net, graph_bytes
    from nwavesdk.interop.nir.draft import NoNodeError
    from nwavesdk.train import load
    from nwavesdk.train.fit.network import FileNet

    if discretization is None:
        raise ValueError(
            f"--nir: {printable(out)} needs --discretization, because NIR does not say how its "
            "equations are solved: give exact or euler, as the reader of the file will solve them."
        )
    trained = load(run, net)
    model: nn.Module = trained.net
    shape: tuple[int, ...] = (len(trained.standard.mean),)
    if isinstance(model, FileNet):
        shape, model = model.inputs, model.net
    allowed = _allowed(allow)
    try:
        exported = export_net(
            model, discretization=discretization, dt=trained.dt, input_shape=shape, allow=allowed
        )
    except NoNodeError as error:
        remedy = _remedy(run, error.fault)
        if remedy is None:
            raise
        raise ValueError(f"--nir: {error.fault}: {remedy}.") from None
    dt = exported.graph.metadata["nwavesdk_dt"]
    options = {"dt": dt, "discretization": discretization, "allow": allowed}
    found = check(exported.graph, **options, net=model)
    if not found.is_equal:
        raise RuntimeError(
            f"{printable(out)} is not written: the graph differs from the trained net ({found}). "
            "This is a bug in nwavesdk, please report it."
        )
    content = graph_bytes(exported.graph)
    write_atomically(out, content)
    report = {
        "path": out,
        "bytes": len(content),
        "dt": dt,
        "discretization": discretization,
        "look_ahead": trained.input.look_ahead,
        "notes": list(exported.notes),
        "check": _check_content(found),
    }
    lines = [f"{out}: {len(content):,} bytes, {discretization}, steps of {dt:g} s"]
    lines += exported.notes
    lines.append("its input is that of the net: frames on the scale of the run, each held as in it")
    lines += late_lines(trained)
    lines.append(f"against a reader that shares no code, on random input: {found}")
    print_report(as_json, report, lines)


def _remedy(run: Path, fault: str) -> str | None:
    """What to do about a net of the library that NIR has no nodes for; None for a user's net."""
    from nwavesdk.train.run_folder import RunFolder

    config = RunFolder(run).read_config()
    if config.net.name == "file":
        return None
    if config.chip is not None:
        return f"nwave export {printable(run)} writes it for the chip, --torch or --onnx one step"
    if "reset by subtraction" in fault:
        return (
            "train with --reset zero, or allow it with --allow soft-reset: other readers than "
            "nwavesdk will then reset to 0"
        )
    return "write one step by --torch or --onnx; docs/nir.md lists the runs that NIR can hold"


def _options(
    dt: float, discretization: str, source: str | None, allow: str | None
) -> dict[str, Any]:
    return {
        "dt": dt,
        "discretization": discretization,
        "source": source,
        "allow": _allowed(allow),
    }


def _allowed(allow: str | None) -> tuple[str, ...]:
    from nwavesdk.interop.nir import ALLOWED

    names = tuple(split_commas("--allow", allow)) if allow is not None else ()
    for name in names:
        if name not in ALLOWED:
            raise ValueError(f"--allow: got {shown(name)}, expected {' or '.join(ALLOWED)}.")
    return names


def _shape_of(given: str | None) -> tuple[int, ...] | None:
    if given is None:
        return None
    parts = [part.strip() for part in given.split(",")]
    are_sizes = all(part.isascii() and part.isdecimal() and len(part) < 8 for part in parts)
    sizes = tuple(map(int, parts)) if are_sizes else ()
    if not 1 <= len(sizes) <= 4 or min(sizes) < 1:
        raise ValueError(
            f"--input-shape: got {shown(given)}, expected one to four whole numbers above 0, as in "
            "2,34,34."
        )
    return sizes


def _check_content(found: Any) -> dict[str, Any]:
    content = {name: value for name, value in vars(found).items() if name != "notes"}
    content["equal"] = found.is_equal
    return json.loads(json.dumps(content))  # type: ignore[no-any-return]  # a dict again


def _validation_input(path: Path, net: str | None, recordings: int) -> tuple["nn.Module", "Tensor"]:
    """The trained net of a run, and the first recordings of its validation set, [B, T, *inputs]."""
    import numpy as np

    from nwavesdk.train import Run
    from nwavesdk.train.fit.network import FileNet

    try:
        run = Run.open(path, net)
    except ValueError as error:
        raise ValueError(f"--against: {error}") from None
    series = run.data.val
    x = series.take(np.arange(min(recordings, len(series)))).whole().x
    x = x.to_dense() if x.is_sparse else x
    model: nn.Module = run.model()
    if isinstance(model, FileNet):
        x = x.reshape(*x.shape[:2], *model.inputs)
        model = model.net
    return model, x
