"""What `top` shows: lines of text with a style each, made of the last snapshot.

Pure: it knows no terminal, and is tested without one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase

from ..admin import Badge, Snapshot, TubeSample
from .together import Together
from .tube_table import (
    COLUMNS,
    SORTABLE,
    columns_of,
    duration,
    rate,
    reason,
    sorted_tubes,
    table,
    text,
    told_away,
    whole,
)

RESTART_SHOWN = 60.0
"""Seconds for which it is told that the server was restarted."""

MAX_FILTER = 200
"""The most characters that a filter has: as many as the name of a tube may."""

HELP = """\
top: what happens at a beanstalkd server

  q, Ctrl-C      quit; Ctrl-Z suspends
  ?, h           this help, and back
  space, p       pause: the screen stands still; and go on
  s, >, right    sort by the next column
  S, <, left     sort by the column before
  r              sort the other way round
  /              show only tubes whose name contains what you type, or matches
                 a pattern such as mail.*; Enter ends that, Escape shows all
  t              add up the tubes of several servers, and show each again
  !              show only tubes with notes; and all again
  + -            look more often, less often
  up, down, j, k, page up, page down, home, end    scroll

columns:
"""


class Style(Enum):
    """Say how a line stands out. What it says is in its text as well."""

    PLAIN = "plain"
    HEADING = "heading"
    NOTED = "noted"
    ALARM = "alarm"
    OLD = "old"
    KEYS = "keys"


@dataclass(frozen=True)
class Line:
    """Hold a line of the screen."""

    text: str
    style: Style = Style.PLAIN


class View:
    """Hold what is shown of a server, and make the lines of a screen of it.

    :ivar sort: the key of the column to sort by
    :ivar backwards: whether the order is the other way round
    :ivar filter: what the names of the tubes contain or match; empty for all
    :ivar typing: whether the filter is being typed
    :ivar noted_only: whether only tubes with notes are shown
    :ivar paused: whether the screen stands still
    :ivar helping: whether the help is shown
    :ivar first: the number of tubes that are scrolled past
    """

    def __init__(self, sort: str = "ready", backwards: bool = False) -> None:
        self.sort = sort
        self.backwards = backwards
        self.filter = ""
        self.typing = False
        self.noted_only = False
        self.paused = False
        self.helping = False
        self.first = 0
        self.interval = 1.0
        self._snapshot: Snapshot | None = None
        self._up: Snapshot | None = None  # the last one in which the server was up
        self._restarted: float | None = None  # when that was seen
        self._missed: Snapshot | None = None  # the newest one while paused

    # --- what happens ---

    def take(self, snapshot: Snapshot) -> None:
        """Show a snapshot from now on, unless the screen is paused."""
        if snapshot.restarted:
            self._restarted = snapshot.clock
        if self.paused:
            self._missed = snapshot
            return
        self._snapshot = snapshot
        if snapshot.up:
            self._up = snapshot

    def pause(self) -> None:
        """Have the screen stand still, or show the newest snapshot again."""
        self.paused = not self.paused
        missed, self._missed = self._missed, None
        if not self.paused and missed is not None:
            self.take(missed)

    def sort_by_next(self, step: int) -> None:
        """Sort by the column that is `step` columns to the right."""
        keys = [key for key in SORTABLE if key != "server" or isinstance(self._up, Together)]
        place = keys.index(self.sort) + step if self.sort in keys else 0
        self.sort = keys[place % len(keys)]

    def type(self, key: str, typed: str | None) -> None:
        """Change the filter by a key, by its name and by what it types, or end its typing."""
        if key in ("enter", "escape"):
            self.typing = False
        if key == "escape":
            self.show_all()
        elif key in ("backspace", "ctrl+h"):
            self.filter = self.filter[:-1]
        elif key == "ctrl+u":
            self.filter = ""
        elif typed is not None:
            line = typed.strip("\r\n").partition("\n")[0]
            if line.isprintable():
                self.filter = (self.filter + line)[:MAX_FILTER]
        self.first = 0

    def show_all(self) -> None:
        """Show all tubes again, and no help."""
        self.filter = ""
        self.noted_only = self.helping = False

    def scroll(self, lines: int, height: int) -> None:
        """Scroll down by a number of lines, or up by a negative one."""
        last = max(len(self.rows()) - self._room(height), 0)
        self.first = min(max(self.first + lines, 0), last)

    # --- what is shown ---

    def rows(self) -> list[TubeSample]:
        """Return the tubes to show, in order."""
        if self._up is None:
            return []
        tubes = [
            tube
            for tube in self._up.tubes.values()
            if self._matches(tube.name) and (tube.badges or not self.noted_only)
        ]
        return sorted_tubes(tubes, self.sort, backwards=self.backwards)

    def lines(self, width: int, height: int) -> list[Line]:
        """Return the lines of a screen, `height` of them or fewer."""
        if self.helping:
            return self._help(width, height)
        rows = self.rows()
        room = self._room(height)
        self.first = min(self.first, max(len(rows) - room, 0))
        shown = rows[self.first : self.first + room]
        heading, *texts = table(shown, columns_of(rows), width)
        body = [Line(each, self._style(tube)) for each, tube in zip(texts, shown, strict=True)]
        body += [Line("")] * (room - len(body))
        made = [*self._head(), Line(heading.ljust(width), Style.HEADING), *body]
        made.append(self._foot(len(rows), len(shown)))
        return [Line(line.text[:width], line.style) for line in made[:height]]

    def _room(self, height: int) -> int:
        return max(height - 4, 0)  # two lines above, the headings, and one below

    def _matches(self, name: str) -> bool:
        if any(letter in self.filter for letter in "*?["):
            return fnmatchcase(name, self.filter)
        return self.filter in name

    def _style(self, tube: TubeSample) -> Style:
        if self._snapshot is not None and not self._snapshot.up:
            return Style.OLD
        if Badge.NO_WORKERS in tube.badges or Badge.BURIED_RISING in tube.badges:
            return Style.ALARM
        return Style.NOTED if tube.badges else Style.PLAIN

    def _head(self) -> list[Line]:
        snapshot = self._snapshot
        if snapshot is None:
            return [Line("waiting for the server ..."), Line("")]
        clock = time.strftime("%H:%M:%S", time.localtime(snapshot.time))
        where = f"{clock} {text(snapshot.server)}"
        if not snapshot.up:
            since = "" if self._up is None else f"; below is what it had {self._ago(self._up)} ago"
            return [
                Line(f"{where} is not available{since}", Style.ALARM),
                Line(reason(snapshot), Style.ALARM),
            ]
        notes = [str(badge) for badge in snapshot.badges]
        if self._restarted is not None and snapshot.clock - self._restarted < RESTART_SHOWN:
            notes.insert(0, "restarted")
        facts = [*notes, *told_away(snapshot)]
        style = Style.ALARM if facts else Style.PLAIN
        if not isinstance(snapshot, Together):
            facts.append(f"up {duration(snapshot.stats.get('uptime'))}")
        facts.append(f"beanstalkd {text(snapshot.stats.get('version'))}")
        return [Line(f"{where}: {', '.join(facts)}", style), Line(_totals(snapshot))]

    def _ago(self, snapshot: Snapshot) -> str:
        now = 0.0 if self._snapshot is None else self._snapshot.clock
        return duration(max(now - snapshot.clock, 0.0))

    def _foot(self, matching: int, shown: int) -> Line:
        count = "1 tube" if matching == 1 else f"{matching} tubes"
        if self.typing:
            typed = text(self.filter)
            return Line(f"filter: {typed}_ | {count} | Enter ends, Escape: all", Style.KEYS)
        parts = []
        if self.paused:
            parts.append("PAUSED")
        last = self.first + shown
        of_all = f" of {matching}" if matching > shown else ""
        rows = f"{self.first + 1}-{last}{of_all}" if shown else "no"
        parts.append(f"{rows} tubes" if matching != 1 else "1 tube")
        parts.append(f"by {self.sort}{', reversed' if self.backwards else ''}")
        if self.filter:
            parts.append(f"filter {text(self.filter)}")
        if self.noted_only:
            parts.append("with notes")
        parts.append(f"every {self.interval:g} s")
        return Line(" | ".join([*parts, "? help", "q quit"]), Style.KEYS)

    def _help(self, width: int, height: int) -> list[Line]:
        texts = [*HELP.splitlines(), *(f"  {each.title:8} {each.meaning}" for each in COLUMNS)]
        self.first = min(self.first, max(len(texts) - height, 0))
        return [Line(each[:width]) for each in texts[self.first : self.first + height]]


def _totals(snapshot: Snapshot) -> str:
    stats, rates = snapshot.stats, snapshot.rates
    into, out = (None, None) if rates is None else (rates.into, rates.out)
    return ", ".join(
        [
            f"in {rate(into)}/s out {rate(out)}/s",
            f"drain {duration(snapshot.drain_seconds)}",
            f"{whole(stats.get('current-jobs-ready', 0))} ready",
            f"{whole(stats.get('current-jobs-reserved', 0))} reserved",
            f"{whole(stats.get('current-jobs-delayed', 0))} delayed",
            f"{whole(stats.get('current-jobs-buried', 0))} buried",
            f"{whole(stats.get('current-workers', 0))} workers",
        ]
    )
