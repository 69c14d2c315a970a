"""Random nets for as long as you like: `python -m tests.random_nets --seconds 600 --seed 0`."""

import argparse
import itertools
import time

import torch

from tests.random_nets.calls import find_disagreement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long to try")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--compile", action="store_true", help="compile some of the calls")
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    agreed = disagreed = 0
    for seed in itertools.count(options.seed):
        if time.monotonic() - start > options.seconds:
            break
        text, calls = find_disagreement(seed, options.compile)
        agreed += calls
        if text is not None:
            disagreed += 1
            print(text, flush=True)
    print(f"seeds {options.seed} to {seed - 1}: {agreed} calls agree, {disagreed} do not")


if __name__ == "__main__":
    main()
