"""The program of the process that searches bodies for a regular expression.

Its standard input is a socket. On it come the flags of the pattern and its length, the pattern,
and then the length of each body and the body; back goes a byte for each body. Lengths and flags
are whole numbers of 4 bytes, the most significant first. What takes longer than the limit ends the
process, even if the one that started it is gone: the system's alarm needs no help of Python's.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import struct
import sys

MEMORY = 2**30
"""Bytes of address space that it may take."""


def main(limit: float) -> None:
    """Answer for each body whether it contains a match, until the other end is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    with open(0, "rb", closefd=False) as given:
        flags, length = struct.unpack("!II", given.read(8))
        pattern = re.compile(given.read(length), flags)
        while header := given.read(4):
            body = given.read(*struct.unpack("!I", header))
            signal.setitimer(signal.ITIMER_REAL, limit)
            found = pattern.search(body)
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.write(0, b"+" if found else b"-")


if __name__ == "__main__":
    main(float(sys.argv[1]))
