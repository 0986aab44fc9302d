"""`completion`: a static script for bash, zsh or fish with every command and option: no process for each TAB.

The script is specific to this release: `source <(adapty-sink completion bash)` in a shell's start file keeps it
current.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from consumer.commands.command_line import Command, Parameter


def script(commands: Sequence[Command], shell: str) -> str:
    """The script for this shell."""
    return SHELLS[shell](commands)


def _words(command: Command, commands: Sequence[Command]) -> list[str]:
    """What can follow where neither an option's value nor a command is expected."""
    names = [name for option in command.options for name in option.names]
    choices = [choice for argument in command.arguments for choice in argument.choices]
    return names + choices + ([] if command.name else [other.name for other in commands if other.name])


# -- bash ------------------------------------------------------------------------------------------------------------

_BASH = """\
# adapty-sink: completion for bash
_adapty_sink() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} command= words= i
    # bash takes --option=value apart at the =
    if [[ $current == = ]]; then current=; elif [[ $before == = ]]; then before=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {with_value}) [[ ${{COMP_WORDS[i+1]}} == = ]] && ((i++)); ((i++)) ;;
            {names}) command=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    case "$command $before" in
{values}
    esac
    case $command in
{words}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -F _adapty_sink adapty-sink
"""


def _bash(commands: Sequence[Command]) -> str:
    first, *others = commands
    with_value = [name for option in first.options if option.value is not None for name in option.names]
    return _BASH.format(
        with_value="|".join(with_value),
        names="|".join(command.name for command in others),
        values="\n".join(line for command in commands for line in _bash_values(command)),
        words="\n".join(f'        "{each.name}") words="{" ".join(_words(each, commands))}" ;;' for each in commands),
    )


def _bash_values(command: Command) -> Iterator[str]:
    for option in command.options:
        if option.value is None:
            continue
        pattern = "|".join(f'"{command.name} {name}"' for name in option.names)
        if option.is_path:
            what = "local IFS=$'\\n'; compopt -o filenames; COMPREPLY=($(compgen -f -- \"$current\"))"
        else:
            what = f'COMPREPLY=($(compgen -W "{" ".join(option.choices)}" -- "$current"))'
        yield f"        {pattern}) {what}; return ;;"


# -- zsh -------------------------------------------------------------------------------------------------------------

_ZSH = """\
#compdef adapty-sink
# adapty-sink: completion for zsh: source it, or put it into a folder of $fpath as _adapty-sink
_adapty_sink() {{
    local context state state_descr line
    typeset -A opt_args
    _arguments -C \\
{first}
        '1:command:->command' \\
        '*::argument:->argument' && return
    case $state in
        command)
            local -a commands=(
{commands}
            )
            _describe command commands
            ;;
        argument)
            case $words[1] in
{arguments}
            esac
            ;;
    esac
}}
if [ "$funcstack[1]" = _adapty-sink ]; then _adapty_sink "$@"; else compdef _adapty_sink adapty-sink; fi
"""


def _zsh(commands: Sequence[Command]) -> str:
    first, *others = commands
    return _ZSH.format(
        first="\n".join(f"        {spec} \\" for spec in _zsh_specs(first)),
        commands="\n".join(
            f"                {_literal(each.name + ':' + _escaped(each.summary, ':'))}" for each in others
        ),
        arguments="\n".join(
            f"                {each.name}) _arguments {' '.join(_zsh_specs(each))} ;;" for each in others
        ),
    )


def _zsh_entry(command: Command) -> str:
    return _literal(f"{command.name}:{_escaped(command.summary, ':')}")


def _zsh_specs(command: Command) -> Iterator[str]:
    for option in command.options:
        text = _escaped(option.help, "[]:")
        for name in option.names:
            yield _literal(f"{name}[{text}]" if option.value is None else f"{name}=[{text}]:{_zsh_value(option)}")
    for argument in command.arguments:
        yield _literal(f":{_zsh_value(argument)}")


def _zsh_value(found: Parameter) -> str:
    action = "_files" if found.is_path else f"({' '.join(found.choices)})" if found.choices else ""
    return f"{_escaped(found.value or '', ':')}:{action}"


def _escaped(text: str, special: str) -> str:
    return "".join(f"\\{letter}" if letter in special else letter for letter in text)


# -- fish ------------------------------------------------------------------------------------------------------------

_FISH = "complete -c adapty-sink"


def _fish(commands: Sequence[Command]) -> str:
    return "\n".join(("# adapty-sink: completion for fish", f"{_FISH} -f", *_fish_lines(commands), ""))


def _fish_lines(commands: Sequence[Command]) -> Iterator[str]:
    for command in commands:
        when = f"-n '__fish_seen_subcommand_from {command.name}'" if command.name else "-n __fish_use_subcommand"
        if command.name:
            yield f"{_FISH} -n __fish_use_subcommand -a {command.name} -d {_fish_literal(command.summary)}"
        for option in command.options:
            value = "" if option.value is None else " -r -F" if option.is_path else " -x"
            value += f" -a '{' '.join(option.choices)}'" if option.choices else ""
            for name in option.names:
                yield f"{_FISH} {when} -l {name.removeprefix('--')}{value} -d {_fish_literal(option.help)}"
        for argument in command.arguments:
            if argument.choices:
                yield f"{_FISH} {when} -a '{' '.join(argument.choices)}'"


def _literal(text: str) -> str:
    """In single quotes: zsh takes everything in them literally."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _fish_literal(text: str) -> str:
    """In single quotes: fish takes a backslash in them for an escape."""
    return _literal(text.replace("\\", "\\\\"))


SHELLS: Mapping[str, Callable[[Sequence[Command]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
