"""One measurement in a fresh process.

`python -m benchmarks.child '{"job": …}'` prints one JSON value.

Jobs: `kept`, `peak` and `net` for memory, `imports` and `first_call` for start-up, `epochs` for
`nwave train`, `times` for the comparison of two commits, `busy` for speed on a busy machine.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

START = time.perf_counter()


def first_call(arguments: dict[str, bool]) -> dict[str, float]:
    """Return the seconds of the first forward and backward pass, numba's import included.

    With `new_page`, the neuron is one that the package does not have, and `with_layer` includes
    reading its page.
    """
    import torch

    from nwavesdk.layers import LIFLayer, prepare_net

    x = torch.rand(4, 10, 32, requires_grad=True)
    begin = time.perf_counter()
    layer = _new_page()(32) if arguments.get("new_page") else LIFLayer(32, 20e-3)
    prepare_net(layer)
    start = time.perf_counter()
    layer(x)[0].sum().backward()
    end = time.perf_counter()
    return {"seconds": end - start, "with_layer": end - begin}


def _new_page():
    """Make a neuron of two states from its page."""
    from nwavesdk.layers import Positive, Real, TimeConstant, decay, held, neuron, spike

    @neuron
    def NewLayer(
        x,
        v,
        a,
        *,
        tau: TimeConstant = 20e-3,
        tau_a: TimeConstant = 0.1,
        threshold: Positive = 1.0,
        kappa: Real = 0.3,
    ):
        u = decay(tau) * v + x - kappa * a
        s = spike(u - threshold)
        return s, u - threshold * held(s), decay(tau_a) * a + (1 - decay(tau_a)) * s

    return NewLayer


def imports(_: object) -> dict[str, float]:
    """Return the seconds of `import torch`, and of our modules after it."""
    import torch  # noqa: F401

    torch_at = time.perf_counter()
    import nwavesdk

    root_at = time.perf_counter()
    import nwavesdk.layers
    import nwavesdk.surrogate  # noqa: F401

    return {
        "torch": torch_at - START,
        "root": root_at - torch_at,
        "all": time.perf_counter() - torch_at,
    }


def _alias_moved_modules() -> None:
    """Offer modules of older commits under the names that the instrument imports."""
    if importlib.util.find_spec("nwavesdk.solvers.allocator") is not None:
        allocator = importlib.import_module("nwavesdk.solvers.allocator")
        sys.modules["nwavesdk.solvers.cpu"] = allocator
        sys.modules["nwavesdk.solvers.cpu.threads"] = allocator
    if importlib.util.find_spec("nwavesdk.internal.load") is None:
        file = Path(__file__).parents[1] / "src" / "nwavesdk" / "internal" / "load.py"
        spec = importlib.util.spec_from_file_location("nwavesdk.internal.load", file)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def main() -> None:
    """Run the job and print its result."""
    arguments = json.loads(sys.argv[1])
    job = arguments.pop("job")
    if job in ("kept", "peak", "net"):
        from benchmarks import memory_jobs

        result = getattr(memory_jobs, job)(**arguments)
    elif job == "epochs":
        from benchmarks.epochs import epochs

        result = epochs(**arguments)
    elif job == "times":
        _alias_moved_modules()
        from benchmarks.compare import times

        result = times(**arguments)
    elif job == "busy":
        from benchmarks.busy import times as busy_times

        result = busy_times(**arguments)
    else:
        result = {"first_call": first_call, "imports": imports}[job](arguments)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
