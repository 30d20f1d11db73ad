"""An embedded beanstalkd, for development and tests.

:class:`Server` speaks the whole protocol of ``doc/protocol.txt``, every reply as beanstalkd 1.13
gives it, and keeps the jobs in memory: they are gone when it ends. In production, run beanstalkd.

Inside, one noun a module: ``engine`` is the queue, without any I/O and with no other time than
its clock's; ``session`` is a connection without its socket; ``reader`` cuts lines and bodies out
of what it sends; ``commands`` is the table of what they do; ``report`` writes the statistics.
Only ``listener`` and ``peer`` touch sockets and the loop.
"""

from __future__ import annotations

from .listener import Server

__all__ = ["Server"]
