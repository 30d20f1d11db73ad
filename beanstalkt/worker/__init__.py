"""The worker runner: takes jobs from tubes, runs a handler for each, and settles them.

The public names are :class:`Worker`, :class:`Retry` and :class:`Reject`; ``main`` is the command
line's ``work``.
"""
