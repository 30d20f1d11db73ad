"""The metrics of the servers that a console watches, and its own health."""

from __future__ import annotations

from .handlers import Api, refuse


class MetricsHandler(Api):
    """Answer with the metrics of the servers, as they were looked at last."""

    def get(self) -> None:
        """Answer at once: no server is asked for it."""
        make = self.context.metrics
        if make is None:
            refuse("The metrics need a package: pip install 'beanstalkt[console]'.", 404)
        watches = self.context.watches.items()
        self.set_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.finish(make({name: watch.latest for name, watch in watches}))


class HealthHandler(Api):
    """Tell that the console runs."""

    def get(self) -> None:
        """Answer, which is all that is to be known."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("ok\n")
