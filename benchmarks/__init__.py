"""Measure the package side by side with others: ``make bench``, or ``python -m benchmarks``.

To add a measure, decorate a function with :func:`benchmarks.registry.measure` in the file that
measures the same thing, or in a new file that ``figures`` imports.
"""
