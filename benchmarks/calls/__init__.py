"""What a call costs: step by step, small and whole, next to other libraries and to plain code.

`suite.measure` is the section `calls` of `python -m benchmarks.run`.
"""
