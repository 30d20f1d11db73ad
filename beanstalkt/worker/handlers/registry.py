"""The handlers that a tube can be given in the configuration."""

from __future__ import annotations

from .base import Handler
from .command.handler import CommandHandler
from .function.handler import FunctionHandler
from .http.handler import HTTPHandler

HANDLERS: tuple[type[Handler], ...] = (CommandHandler, HTTPHandler, FunctionHandler)
"""Looked through in this order by the configuration and by ``--help``."""
