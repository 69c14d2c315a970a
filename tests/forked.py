"""Python code in other processes, forked from a server that has imported the libraries.

Otherwise each process would import torch and Lightning for seconds; see `faults.running`.
"""

from pathlib import Path

from faults.running import Outcome, Setting, Started, execute, start

__all__ = ["run_code", "start_code"]


def start_code(code: str, folder: Path, *words: object, **variables: str) -> Started:
    """Start code in a new process.

    Args:
        code: The code.
        folder: The folder in which it runs; its output goes next to it.
        words: The words after the first in `sys.argv`.
        variables: Further environment variables.
    """
    return start((code, *map(str, words)), folder, Setting(variables), execute)


def run_code(code: str, folder: Path, *words: object, **variables: str) -> Outcome:
    """Run code to its end, which must be success; see `start_code`."""
    outcome = start_code(code, folder, *words, **variables).finish()
    assert outcome.code == 0, outcome
    return outcome
