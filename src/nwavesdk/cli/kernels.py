"""`nwave kernels`: the generated kernels of a neuron, and their source."""

from typing import Annotated, Any

import typer

from nwavesdk.cli.app import Json, app, print_report
from nwavesdk.cli.neurons import chosen_neuron

__all__ = ["list_kernels"]

DTYPE = "float32"


@app.command("kernels")
def list_kernels(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A neuron that `nwave neurons` lists, or FILE.py:NAME. [lif]"
        ),
    ] = "lif",
    surrogate: Annotated[
        str,
        typer.Option(metavar="NAME", help="The surrogate of backward. [fast_sigmoid]"),
    ] = "fast_sigmoid",
    gpu: Annotated[
        bool, typer.Option("--gpu", help="The kernels of GPUs (Triton), not of CPUs (numba).")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Print their source.")] = False,
    as_json: Json = False,
) -> None:
    """List the kernels that the library generates for a neuron and a surrogate, in float32.

    They are those of the serial solver with a gradient of the charge, not of the constants.
    Nothing is compiled.
    """
    from nwavesdk.surrogate import parse, text

    neuron = chosen_neuron(name)
    try:
        chosen = parse(surrogate)
    except ValueError as error:
        raise ValueError(f"--surrogate {surrogate!r}: {error}") from None
    content, sources = _kernels(neuron.page.neuron, chosen, gpu=gpu)
    used = text(chosen) if content["uses_surrogate"] else None
    content |= {"name": neuron.name, "surrogate": used, "machine": "gpu" if gpu else "cpu"}
    lengths = {direction: len(source.splitlines()) for direction, source in sources.items()}
    if show:
        lines = [line for source in sources.values() for line in source.splitlines()]
    else:
        lines = [
            f"{neuron.name} with {used or 'no surrogate'}: of each step and neuron, "
            f"{content['saved']} number{'s' * (content['saved'] > 1)} of 4 bytes saved",
            *(f"{direction:8}  {length} lines" for direction, length in lengths.items()),
            "--show prints the source.",
        ]
    content["kernels"] = sources if show else lengths
    print_report(as_json, content, lines)


def _kernels(neuron: Any, surrogate: Any, *, gpu: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """What the program of a neuron saves, and the sources of its kernels."""
    from nwavesdk.dynamics import program_of
    from nwavesdk.solvers.cpu import render as cpu_texts
    from nwavesdk.solvers.gpu import render as gpu_texts

    program = program_of(neuron)
    adjoint = program.adjoint(False)
    texts = gpu_texts if gpu else cpu_texts
    kind = type(surrogate) if adjoint.uses_surrogate else None
    parameters = len(surrogate.constants) if kind else 0
    sources = {
        "forward": texts.render_forward(program.step, DTYPE),
        "backward": texts.render_backward(adjoint, DTYPE, kind, parameters),
    }
    return {"saved": program.step.saved, "uses_surrogate": adjoint.uses_surrogate}, sources
