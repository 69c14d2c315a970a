"""Whole nets next to the same nets in other libraries: time of a training step, and its memory.

    python -m benchmarks.nets [--only conv recurrent] [--compile] [--memory]

A step is forward, loss and backward. Times alternate in one process, and the fastest of all rounds
counts, because other programs only make a step slower. Memory is what a step adds to a fresh
process.
"""
