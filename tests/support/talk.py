"""An engine whose clock the test moves, and connections to talk to it."""

from __future__ import annotations

from beanstalkt.server.engine import Engine
from beanstalkt.server.interpreter import Interpreter
from beanstalkt.server.session import Session


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Talk:
    """A server of its own for the test."""

    def __init__(self, max_job_size: int = 65535) -> None:
        self.clock = Clock()
        self.engine = Engine(max_job_size, self.clock)
        self.interpreter = Interpreter(self.engine)

    def connect(self, *commands: bytes) -> Line:
        """A new connection, on which these commands have been sent, their replies dropped."""
        line = Line(self.engine, self.interpreter)
        for command in commands:
            line.say(command)
        return line

    def sleep(self, seconds: float) -> None:
        """Let time pass, with a look at the clock at each deadline, as the server has."""
        end = self.clock.now + seconds
        while (due := self.engine.next_deadline) is not None and due <= end:
            self.clock.now = max(self.clock.now, due)
            self.interpreter.tick()
        self.clock.now = end
        self.interpreter.tick()


class Line:
    """One connection."""

    def __init__(self, engine: Engine, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.session: Session = engine.connect()

    def say(self, data: bytes) -> bytes:
        """Send; what comes back at once. A line without its end gets one."""
        if not data.endswith(b"\r\n"):
            data += b"\r\n"
        return self.send(data)

    def send(self, data: bytes) -> bytes:
        """Send these bytes and no more; what comes back at once."""
        self.interpreter.receive(self.session, data)
        return self.hear()

    def hear(self) -> bytes:
        """What has come since."""
        replies = [self.session.take_replies()]
        while self.session.stalled:
            self.interpreter.resume(self.session)
            replies.append(self.session.take_replies())
        return b"".join(replies)

    def put(
        self, body: bytes = b"", *, priority: int = 0, delay: int = 0, ttr: int = 100
    ) -> bytes:
        return self.say(
            b"put %d %d %d %d\r\n%b" % (priority, delay, ttr, len(body), body + b"\r\n")
        )

    def stats(self, command: bytes) -> dict[str, str]:
        """The data of a stats command."""
        _, _, data = self.say(command).partition(b"---\n")
        pairs = (line.partition(": ") for line in data.decode().rstrip().split("\n"))
        return {key: value.strip('"') for key, _, value in pairs}

    def close(self) -> None:
        self.interpreter.close(self.session)
