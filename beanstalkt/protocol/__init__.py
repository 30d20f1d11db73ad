"""The protocol without I/O: pure functions of bytes and plain values.

Nothing here imports Tornado, asyncio or a socket: whoever owns a connection carries the bytes.
The section numbers in the docstrings are those of ``protocol.txt``, which is in this
directory (in the repository, a link to ``doc/protocol.txt``).
"""
