"""Is the analysis right? Simulated studies with planted effects: bias, coverage of 95 % intervals, error rates.

    .venv/bin/python -m benchmarks.coverage [--repeats 1000] [--only NAME]...

Every table is a function: it plants a truth, simulates `repeats` studies on a declared grid, analyses them with the
package's own functions and returns one row per cell of the grid. Printed as they stand in docs/estimators/coverage.md.
"""
