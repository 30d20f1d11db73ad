"""The web console: shows live in a browser what beanstalkd servers hold, and changes it.

``beanstalkt console --server URL`` starts it. From a program::

    console = Console(Settings(servers={"main": "beanstalk://localhost:11300"}))
    console.start()
    ...
    await console.stop()

It is safe by default: it listens on loopback only, unless it has a password or a token, and
:mod:`beanstalkt.console.gate` decides about each request before any route is looked at.
"""

from .console import Console
from .settings import Settings

__all__ = ["Console", "Settings"]
