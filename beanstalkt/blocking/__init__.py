"""The client for programs without an event loop: each call returns when the server has answered.

It keeps the promises of the asynchronous client, since the same pipeline stands behind both.
"""

from .client import Client
from .job import Job

__all__ = ["Client", "Job"]
