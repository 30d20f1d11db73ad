"""The handlers that a tube can be given in the configuration."""

from __future__ import annotations

from .command import CommandHandler
from .function import FunctionHandler
from .handler import Handler
from .http_handler import HTTPHandler

HANDLERS: tuple[type[Handler], ...] = (CommandHandler, HTTPHandler, FunctionHandler)
"""Looked through in this order by the configuration and by ``--help``."""
