"""The options that choose and sort the tubes of a table."""

from __future__ import annotations

from argparse import ArgumentParser

from .tube_table import SORTABLE


def add_tube_options(parser: ArgumentParser, sort: str) -> None:
    """Add ``--sort``, ``--reverse`` and ``--filter`` to a verb that shows a table of tubes.

    :param sort: the key of the column to sort by, unless the option says otherwise
    """
    parser.add_argument(
        "--sort", choices=SORTABLE, default=sort, help="the column to sort by (%(default)s)"
    )
    parser.add_argument(
        "--sum",
        dest="sums",
        action="store_true",
        help="add up the tubes of the same name on several servers",
    )
    parser.add_argument("--reverse", action="store_true", help="sort the other way round")
    parser.add_argument(
        "--filter",
        action="append",
        metavar="PATTERN",
        help="show only tubes whose name matches; may be repeated",
    )
