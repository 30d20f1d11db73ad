"""An embedded beanstalkd for development and tests.

:class:`Server` speaks the whole protocol of ``beanstalkt/protocol/protocol.txt``, with every reply
as beanstalkd 1.13 gives it. It keeps jobs in memory: they are gone when the server stops. In
production, run beanstalkd.

The modules, each of which imports only those above it:

``heap``, ``rotating_set``
    the two collections that everything else is made of
``reader``
    splits what a client sends into lines and bodies
``stored_job``, ``tube``, ``session``
    the state of a job, a tube, and a connection without its socket
``engine``
    the queue: moves jobs between tubes and sessions; its clock is the only source of time
``stats``
    the data of the stats and list commands
``commands``
    the table of commands: how the line of each is read, and what it does on the engine
``interpreter``
    executes the commands that the sessions have sent
``client_socket``, ``listener``
    the sockets; only these two know the loop
"""

from __future__ import annotations

from .listener import Server

__all__ = ["Server"]
