"""The completion scripts of the shells, made of the parser's description.

A script is static: a shell completes without starting Python, and knows what its version of
the program had when the script was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .description import Described, Option, describe


def bash() -> str:
    """Return the script for bash."""
    program, verbs = describe()
    names = " ".join(name for verb in verbs for name in verb.names)
    cases = [_bash_case("''", program, names)]
    cases += [_bash_case("|".join(verb.names), verb, " ".join(verb.choices)) for verb in verbs]
    return f"""\
# bash completion of beanstalkt: source it, or save it where bash-completion looks for it.
_beanstalkt() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
    local verb= flags= values= files= words= file= i IFS=$' \\t\\n'
    local -a typed
    COMPREPLY=()
    # Not COMP_WORDS, which are divided at : and = as well: URLs and --option=value have these.
    read -ra typed <<< "${{COMP_LINE:0:COMP_POINT}}x"
    for ((i = 1; i < ${{#typed[@]}} - 1; i++)); do
        case ${{typed[i]}} in
            {_alternatives(_with_value(program))}) i=$((i + 1)) ;;
            -*) ;;
            *) verb=${{typed[i]}}; break ;;
        esac
    done
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}
    elif [[ $cur == : || $prev == : ]]; then
        return
    fi
    case $verb in
{"".join(cases)}        *) return ;;
    esac
    case $verb,$prev in
{"".join(_bash_value_cases([program, *verbs]))}    esac
    if [[ " $files " == *" $prev "* ]]; then
        file=yes
    elif [[ " $values " == *" $prev "* ]]; then
        return
    elif [[ $cur == -* ]]; then
        file= words=$flags
    fi
    if [[ $file ]]; then
        IFS=$'\\n'
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$cur"))
    else
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    fi
}}
complete -F _beanstalkt beanstalkt
"""


def zsh() -> str:
    """Return the script for zsh."""
    program, verbs = describe()
    cases = [_zsh_case("''", program)] + [_zsh_case("|".join(v.names), v) for v in verbs]
    summaries = " ".join(_quote(f"{name}:{verb.summary}") for verb in verbs for name in verb.names)
    return f"""\
#compdef beanstalkt
# zsh completion of beanstalkt: save it as _beanstalkt in a folder of fpath, or source it.
_beanstalkt() {{
    local verb= prev=${{words[CURRENT-1]}} i
    local file=
    local -a verbs flags values files choices
    verbs=({summaries})
    for ((i = 2; i < CURRENT; i++)); do
        case ${{words[i]}} in
            {_alternatives(_with_value(program))}) i=$((i + 1)) ;;
            -*) ;;
            *) verb=${{words[i]}}; break ;;
        esac
    done
    case $verb in
{"".join(cases)}        *) return 1 ;;
    esac
    case $verb,$prev in
{"".join(_zsh_value_cases([program, *verbs]))}    esac
    if (( ${{files[(Ie)$prev]}} )); then
        _files
    elif (( ${{values[(Ie)$prev]}} )); then
        _message 'a value'
    elif [[ ${{words[CURRENT]}} == -* ]]; then
        _describe -o option flags
    elif [[ -z $verb ]]; then
        _describe verb verbs
    elif [[ -n $file ]]; then
        _files
    else
        compadd -a choices
    fi
}}
if [[ $funcstack[1] == _beanstalkt ]]; then
    _beanstalkt "$@"
else
    compdef _beanstalkt beanstalkt
fi
"""


def fish() -> str:
    """Return the script for fish."""
    program, verbs = describe()
    lines = [
        "# fish completion of beanstalkt: save it as ~/.config/fish/completions/beanstalkt.fish",
        "function __beanstalkt_verb",
        "    set -l words (commandline -opc)",
        "    set -l skip 1",
        "    for word in $words",
        "        if test $skip = 1",
        "            set skip 0",
        "            continue",
        "        end",
        "        switch $word",
        f"            case {' '.join(_with_value(program))}",
        "                set skip 1",
        "            case '-*'",
        "            case '*'",
        "                echo $word",
        "                return",
        "        end",
        "    end",
        "end",
        "complete -c beanstalkt -f",
    ]
    lines += _fish_options("test -z (__beanstalkt_verb)", program)
    for verb in verbs:
        for name in verb.names:
            lines.append(
                f"complete -c beanstalkt -n 'test -z (__beanstalkt_verb)' -a {name} "
                f"-d {_fish_quote(verb.summary)}"
            )
        condition = f"contains -- (__beanstalkt_verb) {' '.join(verb.names)}"
        lines += _fish_options(condition, verb)
        if verb.takes_file:
            lines.append(f"complete -c beanstalkt -n {_fish_quote(condition)} -F")
    return "\n".join(lines) + "\n"


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}
"""What makes the script of each shell."""


def _bash_case(pattern: str, described: Described, words: str) -> str:
    return (
        f"        {pattern})\n"
        f"            flags='{' '.join(_flags(described.options))}'\n"
        f"            values='{' '.join(_with_value(described))}'\n"
        f"            files='{' '.join(_with_file(described))}'\n"
        f"            words='{words}' file={'yes' * described.takes_file} ;;\n"
    )


def _bash_value_cases(all_described: Iterable[Described]) -> Iterator[str]:
    """Yield what completes the values of options that can be listed."""
    for pattern, choices in _listed(all_described):
        yield f"        {pattern}) COMPREPLY=($(compgen -W '{choices}' -- \"$cur\")); return ;;\n"


def _zsh_value_cases(all_described: Iterable[Described]) -> Iterator[str]:
    for pattern, choices in _listed(all_described):
        yield f"        {pattern}) compadd {choices}; return ;;\n"


def _listed(all_described: Iterable[Described]) -> Iterator[tuple[str, str]]:
    """Yield patterns of a verb and an option, with a comma between, and the option's values."""
    for described in all_described:
        for option in described.options:
            if option.flags and option.choices:
                pairs = [f"{name},{flag}" for name in described.names for flag in option.flags]
                yield "|".join(pairs), " ".join(option.choices)


def _zsh_case(pattern: str, described: Described) -> str:
    flags = " ".join(
        _quote(f"{flag}:{option.help}") for option in described.options for flag in option.flags
    )
    return (
        f"        {pattern})\n"
        f"            flags=({flags})\n"
        f"            values=({' '.join(_with_value(described))})\n"
        f"            files=({' '.join(_with_file(described))})\n"
        f"            choices=({' '.join(described.choices)})\n"
        f"            file={'yes' * described.takes_file} ;;\n"
    )


def _fish_options(condition: str, described: Described) -> list[str]:
    lines = []
    for option in described.options:
        words = ["complete -c beanstalkt -n", _fish_quote(condition)]
        for flag in option.flags:
            words += ["-l", flag[2:]] if flag.startswith("--") else ["-s", flag[1:]]
        if not option.flags:
            words += ["-a", _fish_quote(" ".join(option.choices))]
        elif option.metavar is not None:
            words.append("-rF" if option.is_file else "-x")
            words += ["-a", _fish_quote(" ".join(option.choices))] if option.choices else []
        if option.flags or option.choices:
            lines.append(" ".join([*words, "-d", _fish_quote(option.help)]))
    return lines


def _flags(options: Iterable[Option]) -> list[str]:
    return [flag for option in options for flag in option.flags]


def _with_value(described: Described) -> list[str]:
    return _flags(option for option in described.options if option.metavar is not None)


def _with_file(described: Described) -> list[str]:
    return _flags(option for option in described.options if option.is_file)


def _alternatives(words: list[str]) -> str:
    return "|".join(words)


def _quote(text: str) -> str:
    """Quote a word for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quote(text: str) -> str:
    """Quote a word for fish, which knows a backslash within quotes."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
