"""Side-by-side measurements of the client: ``make bench``, or ``python -m benchmarks``.

To add a measure, write a function for :func:`benchmarks.registry.measure` in the file of its
noun, or in a new file that ``__main__`` imports.
"""
