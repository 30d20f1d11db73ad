"""The client of a beanstalkd: what a program awaits, and what carries it to the server."""

from .client import Client

__all__ = ["Client"]
