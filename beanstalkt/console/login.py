"""Logging in and out, and what the page must know first."""

from __future__ import annotations

import math
import time
from importlib.metadata import version

from .handlers import Api, refuse
from .operations import OPERATIONS

MAX_NAME = 60
"""Characters of the name that a person may give for the log of actions."""


class SessionHandler(Api):
    """Tell the page who is there, and what the console can do."""

    def get(self) -> None:
        """Answer with the session, or with the fact that a login is needed."""
        settings, session = self.context.settings, self.session
        if session is None:
            self.json({"login": True, "password": settings.password is not None})
            return
        self.json(
            {
                "who": session.who,
                "csrf": session.csrf,
                "login": False,
                "can_log_out": settings.needs_login,
                "read_only": settings.read_only,
                "interval": settings.interval,
                "history": self.context.history is not None,
                "servers": list(settings.servers),
                "actions": [*OPERATIONS, "export"],
                "version": version("beanstalkt"),
            }
        )


class LoginHandler(Api):
    """Begin a session for whoever knows the password."""

    def post(self) -> None:
        """Check the password, unless wrong ones were tried too often."""
        values = self.read_json()
        password, who = values.get("password"), values.get("who") or "operator"
        if not isinstance(password, str) or not isinstance(who, str):
            refuse("The password and the name must be text.")
        who = "".join(each for each in who if each.isprintable())[:MAX_NAME].strip() or "operator"
        address = self.request.remote_ip or ""
        session = self.context.gate.log_in(password, who, address, time.monotonic())
        if isinstance(session, float):
            wait = math.ceil(session)
            self.set_status(429)
            self.set_header("Retry-After", str(wait))
            self.json({"error": f"Too many wrong passwords: wait {wait} s."})
            return
        if session is None:
            refuse("The password is wrong.", 403)
        self.set_cookie(
            self.context.cookie,
            session.id,
            path=self.cookie_path,
            httponly=True,
            samesite="Strict",
            secure=self.uses_tls,
        )
        self.json({"who": session.who, "csrf": session.csrf})


class LogoutHandler(Api):
    """End a session."""

    def post(self) -> None:
        """End the session of the caller, if there is one."""
        session = self.session
        if session is not None:
            self.context.gate.sessions.close(session.id)
        self.clear_cookie(self.context.cookie, path=self.cookie_path)
        self.json({})
