"""The screen of `top`, by the library textual: keys in, lines out."""

from __future__ import annotations

import asyncio
import signal
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Key, Paste
from textual.widget import Widget

from ..admin import Sampler
from .exit_status import DONE, INTERRUPTED
from .together import SamplerGroup
from .top_view import Style, View

TERMINATED = 128 + signal.SIGTERM
"""The exit status after SIGTERM, as a shell reports it."""

STYLES = {
    Style.PLAIN: "",
    Style.HEADING: "reverse",
    Style.NOTED: "yellow",
    Style.ALARM: "bold red",
    Style.OLD: "dim",
    Style.KEYS: "reverse",
}

ALWAYS = ("interrupt", "quit_at_once", "suspend_process")
"""The actions of the keys that are commands also while a filter is typed."""

MIN_INTERVAL, MAX_INTERVAL = 0.25, 64.0
"""Seconds between two looks at the server, between which the keys + and - move."""


class Lines(Widget):
    """Show the lines of a view, as many as there is room for."""

    DEFAULT_CSS = "Lines { height: 1fr; }"

    def __init__(self, view: View) -> None:
        super().__init__()
        self._view = view

    def render(self) -> Text:
        """Return the lines as one text."""
        lines = self._view.lines(self.size.width, self.size.height)
        shown = Text(no_wrap=True, end="")
        for place, line in enumerate(lines):
            shown.append("\n" if place else "")
            shown.append(line.text, STYLES[line.style])
        return shown


class TopApp(App[int]):
    """Show a server until the user quits."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", priority=True),
        Binding("ctrl+q", "quit_at_once", priority=True),
        Binding("ctrl+z", "suspend_process", priority=True),
        Binding("q", "leave"),
        Binding("question_mark,h", "help"),
        Binding("space,p", "pause"),
        Binding("s,greater_than_sign,right", "sort(1)"),
        Binding("S,less_than_sign,left", "sort(-1)"),
        Binding("r", "reverse"),
        Binding("t", "sums"),
        Binding("slash", "filter"),
        Binding("escape", "all"),
        Binding("exclamation_mark", "noted"),
        Binding("plus", "pace(0.5)"),
        Binding("minus", "pace(2)"),
        Binding("up,k", "scroll(-1)"),
        Binding("down,j", "scroll(1)"),
        Binding("pageup", "scroll_page(-1)"),
        Binding("pagedown", "scroll_page(1)"),
        Binding("home", "scroll(-1000000000)"),
        Binding("end", "scroll(1000000000)"),
    ]

    def __init__(self, sampler: Sampler | SamplerGroup, view: View) -> None:
        # With its own 16 colours, a terminal keeps its background, and NO_COLOR leaves none.
        super().__init__(ansi_color=True)
        self._sampler = sampler
        self._view = view
        view.interval = sampler.interval

    async def show(self) -> int:
        """Run until the user quits; return the exit status."""
        status = await self.run_async(mouse=False)  # so that text can be selected as usual
        return self.return_code or 0 if status is None else status

    def compose(self) -> ComposeResult:
        """Make the lines, which fill the screen."""
        yield Lines(self._view)

    def on_mount(self) -> None:
        """Begin to look at the server, and to listen for signals."""
        self.run_worker(self._read(), exit_on_error=True)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.exit, TERMINATED)
        loop.add_signal_handler(signal.SIGINT, self.exit, INTERRUPTED)

    def on_unmount(self) -> None:
        """Leave signals to the program again."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

    async def _read(self) -> None:
        async with self._sampler.subscribe() as snapshots:
            async for snapshot in snapshots:
                self._view.take(snapshot)
                self._draw()

    def _draw(self) -> None:
        self.query_one(Lines).refresh()

    # --- keys ---

    def action_leave(self) -> None:
        """Quit `top` with the exit status 0."""
        self.exit(DONE)

    def action_quit_at_once(self) -> None:
        """Quit `top` with the exit status 0, also while a filter is typed."""
        self.exit(DONE)

    def action_interrupt(self) -> None:
        """Quit `top` with the exit status of an interrupted program."""
        self.exit(INTERRUPTED)

    def action_help(self) -> None:
        """Show the help, or the tubes again."""
        self._view.helping = not self._view.helping
        self._view.first = 0
        self._draw()

    def action_pause(self) -> None:
        """Have the screen stand still, or go on."""
        self._view.pause()
        self._draw()

    def action_sort(self, step: int) -> None:
        """Sort the tubes by the column that is `step` columns to the right."""
        self._view.sort_by_next(step)
        self._draw()

    def action_reverse(self) -> None:
        """Reverse the order of the tubes."""
        self._view.backwards = not self._view.backwards
        self._draw()

    def action_sums(self) -> None:
        """Add up the tubes of several servers, or show those of each."""
        if isinstance(self._sampler, SamplerGroup):
            self._sampler.sums = not self._sampler.sums
            self._view.take(self._sampler.latest())
            self._draw()

    def action_noted(self) -> None:
        """Show only tubes with notes, or all."""
        self._view.noted_only = not self._view.noted_only
        self._draw()

    def action_pace(self, factor: float) -> None:
        """Look at the server more often, or less."""
        interval = min(max(self._sampler.interval * factor, MIN_INTERVAL), MAX_INTERVAL)
        self._sampler.interval = self._view.interval = interval
        self._draw()

    def action_scroll(self, lines: int) -> None:
        """Scroll the table down by a number of lines, or up by a negative one."""
        self._view.scroll(lines, self.query_one(Lines).size.height)
        self._draw()

    def action_scroll_page(self, pages: int) -> None:
        """Scroll the table down by a number of screens, or up by a negative one."""
        self.action_scroll(pages * max(self.query_one(Lines).size.height - 4, 1))

    # --- the filter ---
    #
    # A field of the library would get the focus only after keys that come in one go with the one
    # that opens it, and those would be taken for commands.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let keys be text, but for Ctrl-C, Ctrl-Q and Ctrl-Z, while a filter is typed."""
        return not self._view.typing or action in ALWAYS

    def action_filter(self) -> None:
        """Have what is typed be a filter."""
        self._view.typing = True
        self._draw()

    def action_all(self) -> None:
        """Show the table of all tubes again: no filter, and no help."""
        self._view.show_all()
        self._draw()

    def on_key(self, event: Key) -> None:
        """Change the filter while it is typed."""
        if self._view.typing:
            self._view.type(event.key, event.character)
            self._draw()

    def on_paste(self, event: Paste) -> None:
        """Add text from the clipboard to the filter while it is typed."""
        if self._view.typing:
            self._view.type("", event.text)
            self._draw()
