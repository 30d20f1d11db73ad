from __future__ import annotations

from beanstalkt.console import Console, Settings
from beanstalkt.metrics.servers import text_of
from tests.support.console import TOKEN, Visitor
from tests.support.embedded import AnyServer
from tests.support.waiting import until_awaited


async def test_the_console_serves_metrics_to_programs_with_the_token(server: AnyServer) -> None:
    settings = Settings({"main": server.url}, port=0, token=TOKEN, interval=0.05)
    console = Console(settings, metrics=text_of)
    console.start()
    visitor = Visitor(console)
    try:
        assert (await visitor.ask("/metrics")).code == 401
        assert (await visitor.ask("/healthz")).body == b"ok\n"
        visitor.headers["Authorization"] = f"Bearer {TOKEN}"

        async def up() -> bool:
            return b'beanstalkd_up{server="main"} 1' in (await visitor.ask("/metrics")).body

        await until_awaited(up)
        assert (
            b'beanstalkd_tube_jobs{server="main",tube="default"'
            in (await visitor.ask("/metrics")).body
        )
    finally:
        visitor.close()
        await console.stop()
