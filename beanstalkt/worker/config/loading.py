"""Makes settings out of the configuration file, the environment and the flags.

A flag beats the environment, which beats the file. Everything that is wrong in any of them is
reported at once, with its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...protocol.address import DEFAULT_PORT, Address
from ...protocol.servers import as_text, parse_servers
from ..handlers.base import CannotStart, Handler, Option
from ..handlers.registry import HandlerError, load_handlers
from ..policy.decision import Action
from ..process.environment import without_job
from . import values
from .options import COMMON, ON_EXIT, ON_EXIT_PREFIX, RESERVED, RUN, make_policy
from .settings import EVERY_TUBE, ConfigError, Settings, TubeSettings
from .sources import (
    EXCLUDE,
    ConfigFile,
    Flags,
    Layer,
    Problems,
    SourceText,
    from_environment,
    from_flags,
)

__all__ = ["ConfigError", "Flags", "load"]


def load(
    flags: Flags,
    environ: Mapping[str, str],
    handlers: Sequence[type[Handler]] | None = None,
    check: bool = False,
) -> Settings:
    """Read and check the whole configuration. Raises ConfigError.

    :param handlers: those that a tube may have; None: all that are installed
    :param check: whether a handler that cannot run a job now is a problem, too
    """
    if handlers is None:
        try:
            handlers = load_handlers(RESERVED)
        except HandlerError as error:
            raise ConfigError([str(error)]) from error
    return _Loader(flags, without_job(environ), handlers, check).load()


def _list_of(text: str) -> str:
    """Return a list of servers as it is written without line ends; raise InvalidArgument."""
    return " ".join(str(server) for server in parse_servers(text))


class _Loader:
    def __init__(
        self,
        flags: Flags,
        environ: Mapping[str, str],
        handlers: Sequence[type[Handler]],
        check: bool,
    ) -> None:
        self.flags = flags
        self.environ = environ
        self.check = check
        self.problems = Problems()
        #: the options of a tube by name, with the handler to which each belongs
        self.options: dict[str, tuple[Option, type[Handler] | None]] = {
            option.name: (option, handler) for handler in handlers for option in handler.options
        }
        self.options.update((option.name, (option, None)) for option in (*COMMON, ON_EXIT))
        self.file = ConfigFile(handlers, self.options.keys(), self.problems)
        settable = [*(option for option, _ in self.options.values()), *RUN]
        #: the handlers of the tubes; None for a tube without one
        self.handlers: set[type[Handler] | None] = set()
        #: what beats the file, the weaker first
        self.outer = [from_environment(settable, environ), from_flags(settable, flags)]

    def load(self) -> Settings:
        """Return the settings of the runner. Raises ConfigError with everything that is wrong."""
        if self.flags.config is not None:
            self.file.read(self.flags.config, self.flags.config_place)
        server, server_place = self._server()
        chosen = self._chosen_tubes()
        if not chosen:
            self._report_no_tube()
        tubes = [self._tube(name, workers) for name, workers in chosen.items()]
        if tubes and None not in self.handlers:
            self._check_flags()
        run = self._values(RUN, self.outer, {})
        if self.problems.lines:
            raise ConfigError(tuple(self.problems.lines))
        found = tuple(tube for tube in tubes if tube is not None)
        return Settings(server, found, run, server_place)

    # --- the server ---

    def _server(self) -> tuple[str, str]:
        """Return the URL of the server, or a list of several, and what has named them."""
        layer = self.file.connection
        ignored = next((f" (not {text.place})" for text in layer.values()), "")
        if self.flags.server is not None:
            return self.flags.server, self.flags.server_place + ignored
        if url := self.environ.get("BEANSTALKD_URL"):
            servers = self.problems.parse(as_text, SourceText(url, "BEANSTALKD_URL"))
            return str(servers), "BEANSTALKD_URL" + ignored
        place = next((text.place for text in layer.values()), "the default")
        return self._server_of_file(layer), place

    def _server_of_file(self, layer: Layer) -> str:
        """Return the server, or the servers, that the file names, or the default one."""
        for name, read in (("servers", _list_of), ("server", Address.parse)):
            if name in layer:
                for key in layer.keys() - {name, "servers"}:
                    self.problems.add(layer[key].place, f"{name} says it already")
                return str(self.problems.parse(read, layer[name]))
        port: int | None = None
        if "port" in layer:
            port = self.problems.parse(values.whole(1, 65535), layer["port"])
        host = layer.get("host", SourceText("localhost", ""))
        return str(self.problems.parse(lambda text: Address(text, port or DEFAULT_PORT), host))

    # --- the tubes ---

    def _chosen_tubes(self) -> dict[str, int | None]:
        """Return the tubes to run, with the number of workers if --tube gives one."""
        chosen: dict[str, int | None] = {}
        for text in self.flags.tubes:
            pair = self.problems.parse(values.tube_and_workers, SourceText(text, "--tube"))
            if pair is not None:
                if pair[0] in chosen:
                    self.problems.add("--tube", f"{pair[0]} is given twice")
                chosen[pair[0]] = pair[1]
        if not self.flags.tubes:
            chosen = dict.fromkeys(self.file.tubes)
        if self.flags.all_tubes:
            chosen.setdefault(EVERY_TUBE)
        elif self.flags.exclude and EVERY_TUBE not in chosen:
            self.problems.add("--exclude", "it goes with --all-tubes")
        return chosen

    def _report_no_tube(self) -> None:
        """Note that no tube is given, and what else is wrong with the options."""
        layers = [self.file.defaults, *self.outer]
        if not (self.flags.tubes or self.file.names_tubes):
            self.problems.add(
                "", "no tube: give --tube NAME, or --config FILE with a [tube:NAME] in it"
            )
        self._values(COMMON, layers, {})
        self._on_exit(layers)
        if any(self.options[name][0].selects for layer in layers for name in layer):
            handler, place = self._handler("", layers)
            if handler is not None:
                self._handler_values(handler, place, "", layers)

    def _tube(self, name: str, workers: int | None) -> TubeSettings | None:
        """Return the settings of a tube, or None after noting what is wrong."""
        before = len(self.problems.lines)
        flag = "--all-tubes" if name == EVERY_TUBE else "--tube"
        section, place = self.file.tubes.get(name, ({}, flag))
        layers = [self.file.defaults, section, *self.outer]
        if workers is not None:
            layers.append({"workers": SourceText(str(workers), "--tube")})
        label = f"{place}: tube {name}"
        handler, selected = self._handler(label, layers)
        self.handlers.add(handler)
        defaults = handler.defaults if handler is not None else {}
        common = self._values(COMMON, layers, defaults)
        policy = make_policy(common, self._on_exit(layers))
        if handler is None:
            return None
        self._check_owners(handler, section)
        chosen = self._handler_values(handler, selected, label, layers)
        exclude = self.flags.exclude or section.get(EXCLUDE, SourceText("", "")).text.split()
        if len(self.problems.lines) > before or chosen is None:
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

    # --- the handler of a tube ---

    def _handler(self, label: str, layers: list[Layer]) -> tuple[type[Handler] | None, str]:
        """Return the handler that the strongest layer selects, and the place where it does.

        :param label: the place of the problem that no layer selects one
        """
        for layer in reversed(layers):
            found = [
                (name, handler)
                for name, (option, handler) in self.options.items()
                if handler is not None and option.selects and name in layer
            ]
            if len({handler for _, handler in found}) > 1:
                names = " and ".join(name for name, _ in found)
                self.problems.add(layer[found[-1][0]].place, f"one tube cannot have {names}")
                return None, ""
            if found:
                return found[0][1], layer[found[0][0]].place
        names = ", ".join(
            f"{option.name} ({option.flag})"
            for option, _ in self.options.values()
            if option.selects
        )
        self.problems.add(label, f"it does not say what to run: give {names}")
        return None, ""

    def _check_owners(self, handler: type[Handler], section: Layer) -> None:
        """Note every option of another handler that stands in the section of a tube.

        They are allowed if a flag or a variable has given the tube another handler than its
        section selects.
        """
        owners = {key: self.options[key][1] for key in section if key in self.options}
        if handler not in owners.values() and any(self.options[key][0].selects for key in owners):
            return
        for key, owner in owners.items():
            if owner not in (None, handler):
                self.problems.add(section[key].place, "it does not go with this tube's handler")

    def _check_flags(self) -> None:
        """Note every flag of a handler that no tube has."""
        for name in self.outer[-1]:
            option, owner = self.options.get(name, (None, None))
            if option is not None and owner is not None and owner not in self.handlers:
                selecting = " or ".join(each.flag for each in owner.options if each.selects)
                self.problems.add(option.flag, f"it goes with {selecting}, which no tube has")

    def _handler_values(
        self, handler: type[Handler], selected: str, label: str, layers: list[Layer]
    ) -> Mapping[str, Any] | None:
        """Return the values for the handler's ``from_options``, or None if it refuses them.

        :param selected: the place of the option that selects the handler
        """
        before = len(self.problems.lines)
        chosen = self._values(handler.options, layers, handler.defaults)
        if len(self.problems.lines) > before:
            return None
        chosen = {name: value for name, value in chosen.items() if value is not None}
        extra = self.file.extra
        chosen.update((name, extra[name]) for name in handler.sections if name in extra)
        try:
            made = handler.from_options(chosen)
            if self.check:
                made.check()
        except ValueError as error:
            self.problems.add(label, str(error))
        except CannotStart as error:
            self.problems.add(selected, str(error))
        else:
            return chosen
        return None

    # --- the values of options ---

    def _values(
        self, options: Sequence[Option], layers: list[Layer], defaults: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the values of these options, each from the strongest layer that has one."""
        found: dict[str, Any] = {}
        for option in options:
            found[option.name] = defaults.get(option.name, option.default)
            for layer in layers:  # values that are overruled must be right as well
                if option.name in layer:
                    found[option.name] = self.problems.parse(option.parse, layer[option.name])
        return found

    def _on_exit(self, layers: list[Layer]) -> tuple[tuple[int, Action], ...]:
        """Return the actions for single exit statuses."""
        actions: dict[int, Any] = {}
        for layer in layers:
            for key, source in layer.items():
                if key == ON_EXIT.name:
                    actions.update(self.problems.parse(values.exit_actions, source) or ())
                elif key.startswith(ON_EXIT_PREFIX):
                    number = key.removeprefix(ON_EXIT_PREFIX)
                    code = self.problems.parse(values.exit_code, replace(source, text=number))
                    action = self.problems.parse(values.action, source)
                    if code is not None:
                        actions[code] = action
        return tuple(sorted(actions.items(), key=lambda item: item[0]))
