"""From the configuration file, the environment and the flags to settings.

A flag beats the environment, which beats the file. Everything that is wrong anywhere is told at
once, each with its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...protocol.address import DEFAULT_PORT, Address
from ..handlers.base import CannotStart, Handler, Option
from ..handlers.command.handler import configuration
from ..handlers.registry import HANDLERS
from ..log.lines import FORMATTERS, TextFormatter
from ..policy.decision import BURY, RELEASE, Action, Policy
from ..policy.retry import Backoff
from . import ini, values
from .settings import EVERY_TUBE, Settings, TubeSettings
from .settings import ConfigError as ConfigError

_ACTION = "bury, delete, release or release:SECONDS"

COMMON = (
    Option("workers", values.workers, "jobs of a tube at the same time (1)", "NUMBER", default=1),
    Option(
        "timeout",
        values.duration,
        "seconds that a job may take (the job's ttr); the job is kept reserved so long",
        "SECONDS",
    ),
    Option(
        "kill_grace",
        values.seconds,
        "seconds between SIGTERM and SIGKILL (5)",
        "SECONDS",
        default=5.0,
    ),
    Option(
        "max_attempts",
        values.whole(0),
        "how often a job is reserved before it is buried without running; 0: no limit (10)",
        "NUMBER",
        default=10,
    ),
    Option("on_timeout", values.action, f"{_ACTION} (release)", "ACTION", default=RELEASE),
    Option(
        "on_temporary_fail",
        values.action,
        "the same, for exit status 2 (bury)",
        "ACTION",
        default=BURY,
    ),
    Option(
        "on_permanent_fail",
        values.action,
        "the same, for exit status 1 (bury)",
        "ACTION",
        default=BURY,
    ),
    Option(
        "on_unknown_fail",
        values.action,
        "the same, for any other exit status or a signal (bury)",
        "ACTION",
        default=BURY,
    ),
    Option(
        "delay", values.whole(0), "seconds that a released job waits (60)", "SECONDS", default=60
    ),
    Option(
        "backoff",
        values.one_of({"fixed": False, "exponential": True}),
        "fixed, or exponential: the delay doubles with each attempt, with jitter on top (fixed)",
        "KIND",
        default=False,
    ),
    Option(
        "max_delay",
        values.whole(0),
        "seconds that a delay grows to at most (3600)",
        "SECONDS",
        default=3600,
    ),
)
"""The options of every tube, whatever its handler."""

ON_EXIT = Option("on_exit", values.exit_actions, "", "CODE=ACTION[:DELAY]")
"""For several exit statuses; in the file there is ``on_exit_CODE = ACTION[:DELAY]`` as well."""

RUN = (
    Option("burst", values.boolean, "end when no job is ready", default=False, switch=True),
    Option("max_jobs", values.whole(1), "end after that many jobs", "NUMBER"),
    Option(
        "log_format",
        values.one_of(FORMATTERS),
        "text, or json: an object a line, on standard error (text)",
        "FORMAT",
        default=TextFormatter,
    ),
)
"""The options of the whole run, which the file does not have."""

_EXCLUDE = "exclude"
_ON_EXIT_PREFIX = "on_exit_"


@dataclass(frozen=True)
class Flags:
    """What the command line says, as text.

    :ivar options: by the name of the option; a switch is ``"yes"``
    :ivar tubes: ``NAME`` or ``NAME:WORKERS`` each
    :ivar server: URL; None: not said
    :ivar config_place: what has named the file
    """

    options: Mapping[str, str] = field(default_factory=dict)
    tubes: Sequence[str] = ()
    all_tubes: bool = False
    exclude: Sequence[str] = ()
    config: str | None = None
    server: str | None = None
    config_place: str = "--config"


@dataclass(frozen=True)
class _Text:
    """A value that has not been read yet, and where it stands."""

    text: str
    place: str


_Layer = dict[str, _Text]


def load(
    flags: Flags,
    environ: Mapping[str, str],
    handlers: Sequence[type[Handler]] = HANDLERS,
    check: bool = False,
) -> Settings:
    """Read and check everything. Raises ConfigError.

    :param check: whether a handler that could run no job now is wrong too
    """
    return _Loader(flags, environ, handlers, check).load()


class _Loader:
    def __init__(
        self,
        flags: Flags,
        environ: Mapping[str, str],
        handlers: Sequence[type[Handler]],
        check: bool,
    ) -> None:
        self.flags = flags
        self.environ = configuration(environ)
        self.handlers = handlers
        self.check = check
        self.problems: list[str] = []
        #: every option of a tube by its name, with the handler that it belongs to
        self.options: dict[str, tuple[Option, type[Handler] | None]] = {
            option.name: (option, handler) for handler in handlers for option in handler.options
        }
        self.options.update((option.name, (option, None)) for option in (*COMMON, ON_EXIT))
        #: those that flags and variables may set
        self.settable = [*(option for option, _ in self.options.values()), *RUN]
        self.connection: _Layer = {}
        self.defaults: _Layer = {}  # of the file, for each of its tubes
        self.tubes: dict[str, tuple[_Layer, str]] = {}  # of the file, with their places
        self.names_tubes = bool(flags.tubes)  # or tries to
        self.extra: dict[str, dict[str, str]] = {}  # sections that belong to a handler
        self.seen: set[str] = set()  # problems, so that none is told for each tube again

    def load(self) -> Settings:
        if self.flags.config is not None:
            self._read_file(self.flags.config)
        server = self._server()
        given = self._given_tubes()
        environment = self._environment()
        flags = self._flags()
        if not given:
            self._no_tube([self.defaults, environment, flags])
        tubes = [
            self._tube(name, workers, [environment, flags]) for name, workers in given.items()
        ]
        run = self._values(RUN, [environment, flags], {})
        if self.problems:
            raise ConfigError(self.problems)
        return Settings(server, tuple(tube for tube in tubes if tube is not None), run)

    def _problem(self, place: str, message: str) -> None:
        text = f"{place}: {message}" if place else message
        if text not in self.seen:
            self.seen.add(text)
            self.problems.append(text)

    # --- the file ---

    def _read_file(self, name: str) -> None:
        try:
            text = Path(name).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:  # ValueError: also a NUL in the name
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self._problem(self.flags.config_place, f"{name}: {reason}")
            self.names_tubes = True
            return
        cased = {name for handler in self.handlers for name in handler.sections}
        sections, problems = ini.parse(text, cased)
        for line, message in problems:
            self._problem(f"{name}:{line}", message)
        for section in sections:
            self._read_section(name, section)

    def _read_section(self, name: str, section: ini.Section) -> None:
        layer = {
            key: _Text(entry.value, f"{name}:{entry.line}: {key}")
            for key, entry in section.entries.items()
        }
        place = f"{name}:{section.line}"
        kind, colon, tube = (part.strip() for part in section.name.partition(":"))
        if section.name == "connection":
            self.connection = layer
            self._only_known(layer, {"server", "host", "port"})
        elif section.name == "DEFAULT":
            self.defaults = layer
            self._only_known(layer, self.options.keys())
        elif any(section.name in handler.sections for handler in self.handlers):
            self.extra[section.name] = {key: entry.value for key, entry in section.entries.items()}
        elif colon and kind in ("tube", "pool"):
            self.names_tubes = True
            self._read_tube(tube, layer, place)
        else:
            self._problem(place, f"[{section.name}] is no section of this file")

    def _read_tube(self, tube: str, layer: _Layer, place: str) -> None:
        known = set(self.options)
        if tube == EVERY_TUBE:
            known.add(_EXCLUDE)
        elif self._parse(values.tube_name, _Text(tube, place)) is None:
            return
        if tube in self.tubes:
            self._problem(place, f"tube {tube} has a section already")
        self._only_known(layer, known)
        self.tubes[tube] = layer, place

    def _only_known(self, layer: _Layer, known: Any) -> None:
        for key, text in layer.items():
            if key not in known and not key.startswith(_ON_EXIT_PREFIX):
                self._problem(text.place, "unknown key")

    # --- the server ---

    def _server(self) -> str:
        if self.flags.server is not None:
            return self.flags.server
        if url := self.environ.get("BEANSTALKD_URL"):
            parsed = self._parse(Address.parse, _Text(url, "BEANSTALKD_URL"))
            return str(parsed)
        layer = self.connection
        if "server" in layer:
            for key in ("host", "port"):
                if key in layer:
                    self._problem(layer[key].place, "server says it already")
            return str(self._parse(Address.parse, layer["server"]))
        port = self._parse(values.whole(1, 65535), layer["port"]) if "port" in layer else None
        host = layer.get("host", _Text("localhost", ""))
        address = self._parse(lambda text: Address(text, port or DEFAULT_PORT), host)
        return str(address)

    # --- the tubes ---

    def _given_tubes(self) -> dict[str, int | None]:
        """The tubes to run, with the workers that --tube gives them."""
        given: dict[str, int | None] = {}
        for text in self.flags.tubes:
            pair = self._parse(values.tube_and_workers, _Text(text, "--tube"))
            if pair is not None:
                if pair[0] in given:
                    self._problem("--tube", f"{pair[0]} is given twice")
                given[pair[0]] = pair[1]
        if not self.flags.tubes:
            given = dict.fromkeys(self.tubes)
        if self.flags.all_tubes:
            given.setdefault(EVERY_TUBE)
        elif self.flags.exclude and EVERY_TUBE not in given:
            self._problem("--exclude", "it goes with --all-tubes")
        return given

    def _environment(self) -> _Layer:
        return {
            option.name: _Text(self.environ[option.variable], option.variable)
            for option in self.settable
            if self.environ.get(option.variable)
        }

    def _flags(self) -> _Layer:
        return {
            option.name: _Text(self.flags.options[option.name], option.flag)
            for option in self.settable
            if option.name in self.flags.options
        }

    def _no_tube(self, layers: list[_Layer]) -> None:
        """Tell that no tube is given, and what else is wrong."""
        if not self.names_tubes:
            self._problem(
                "", "no tube: give --tube NAME, or --config FILE with a [tube:NAME] in it"
            )
        self._values(COMMON, layers, {})
        self._on_exit(layers)
        if any(self.options[name][0].selects for layer in layers for name in layer):
            handler, place = self._handler("", layers)
            if handler is not None:
                self._made(handler, place, "", layers)

    def _tube(
        self, name: str, workers: int | None, outer: Sequence[_Layer]
    ) -> TubeSettings | None:
        before = len(self.problems)
        flag = "--all-tubes" if name == EVERY_TUBE else "--tube"
        section, place = self.tubes.get(name, ({}, flag))
        layers = [self.defaults, section, *outer]
        if workers is not None:
            layers.append({"workers": _Text(str(workers), "--tube")})
        label = f"{place}: tube {name}"
        handler, selected = self._handler(label, layers)
        defaults = handler.defaults if handler is not None else {}
        common = self._values(COMMON, layers, defaults)
        policy = make_policy(common, self._on_exit(layers))
        if handler is None:
            return None
        self._check_owners(handler, section)
        chosen = self._made(handler, selected, label, layers, common["workers"] or 1)
        exclude = self.flags.exclude or section.get(_EXCLUDE, _Text("", "")).text.split()
        if len(self.problems) > before or chosen is None:
            return None
        return TubeSettings(
            name,
            handler,
            chosen,
            common["workers"],
            common["timeout"],
            common["kill_grace"],
            policy,
            tuple(exclude) if name == EVERY_TUBE else (),
        )

    def _made(
        self,
        handler: type[Handler],
        selected: str,
        label: str,
        layers: list[_Layer],
        workers: int = 1,
    ) -> Mapping[str, Any] | None:
        """What the handler is made of; None, with the problems noted, where it cannot be.

        :param selected: the place of the option that has selected it
        """
        before = len(self.problems)
        chosen = self._values(handler.options, layers, handler.defaults)
        if len(self.problems) > before:
            return None
        chosen = {name: value for name, value in chosen.items() if value is not None}
        chosen.update((key, self.extra[key]) for key in handler.sections if key in self.extra)
        try:
            made = handler.from_options(chosen, workers)
            if self.check:
                made.check()
        except ValueError as error:
            self._problem(label, str(error))
        except CannotStart as error:
            self._problem(selected, str(error))
        else:
            return chosen
        return None

    def _check_owners(self, handler: type[Handler], section: _Layer) -> None:
        """No option of another handler may stand in the section, unless a flag or a variable
        has given the tube that handler."""
        owners = {key: self.options[key][1] for key in section if key in self.options}
        if handler not in owners.values() and any(self.options[key][0].selects for key in owners):
            return
        for key, owner in owners.items():
            if owner not in (None, handler):
                self._problem(section[key].place, "it does not go with this tube's handler")

    def _handler(self, label: str, layers: list[_Layer]) -> tuple[type[Handler] | None, str]:
        """The one that the last layer which selects any selects, and the place of that."""
        for layer in reversed(layers):
            found = [
                (name, handler)
                for name, (option, handler) in self.options.items()
                if handler is not None and option.selects and name in layer
            ]
            if len({handler for _, handler in found}) > 1:
                names = " and ".join(name for name, _ in found)
                self._problem(layer[found[-1][0]].place, f"one tube cannot have {names}")
                return None, ""
            if found:
                return found[0][1], layer[found[0][0]].place
        names = ", ".join(
            f"{option.name} ({option.flag})"
            for option, _ in self.options.values()
            if option.selects
        )
        self._problem(label, f"it does not say what to run: give {names}")
        return None, ""

    def _values(
        self, options: Sequence[Option], layers: list[_Layer], defaults: Mapping[str, Any]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for option in options:
            found[option.name] = defaults.get(option.name, option.default)
            for layer in layers:  # those that are overruled must be right as well
                if option.name in layer:
                    found[option.name] = self._parse(option.parse, layer[option.name])
        return found

    def _on_exit(self, layers: list[_Layer]) -> tuple[tuple[int, Any], ...]:
        actions: dict[int, Any] = {}
        for layer in layers:
            for key, text in layer.items():
                if key == ON_EXIT.name:
                    actions.update(self._parse(values.exit_actions, text) or ())
                elif key.startswith(_ON_EXIT_PREFIX):
                    number = key.removeprefix(_ON_EXIT_PREFIX)
                    code = self._parse(values.exit_code, replace(text, text=number))
                    action = self._parse(values.action, text)
                    if code is not None:
                        actions[code] = action
        return tuple(sorted(actions.items(), key=lambda item: item[0]))

    def _parse(self, parse: Any, text: _Text) -> Any:
        """The value; or None, and a problem noted."""
        try:
            return parse(text.text)
        except ValueError as error:
            said = str(error)
            shown = "" if repr(text.text[:210]) in said else f", not {text.text[:60]!r}"
            self._problem(text.place, f"{said}{shown}")
            return None


def make_policy(common: Mapping[str, Any], on_exit: tuple[tuple[int, Action], ...]) -> Policy:
    """The policy that the values of the COMMON options make."""
    return Policy(
        on_timeout=common["on_timeout"],
        on_temporary_fail=common["on_temporary_fail"],
        on_permanent_fail=common["on_permanent_fail"],
        on_unknown_fail=common["on_unknown_fail"],
        on_exit=on_exit,
        max_attempts=common["max_attempts"],
        backoff=Backoff(common["delay"], common["backoff"], common["max_delay"]),
    )
