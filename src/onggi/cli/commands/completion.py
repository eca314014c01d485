"""``onggi completion``."""

from __future__ import annotations

from onggi.cli.command import PROGRAM, Cli, Command, Failure, Options

# bash splits words at ":" and "=", and replaces only what is behind the last of them.
_BASH = r"""# bash completion for onggi; load it by:  source <(onggi completion bash)
_onggi() {
    local words word current prefix
    COMPREPLY=()
    read -ra words <<< "${COMP_LINE:0:COMP_POINT}"
    [[ "${COMP_LINE:COMP_POINT-1:1}" == [[:space:]] ]] && words+=("")
    current="${words[${#words[@]}-1]}"
    prefix="${current%"${current##*[:=]}"}"
    while IFS=$'\t' read -r word _; do
        if [[ "$word" == ":files" ]]; then
            compopt -o default 2>/dev/null
        else
            [[ "$word" == *[:=] ]] && compopt -o nospace 2>/dev/null
            COMPREPLY+=("${word#"$prefix"}")
        fi
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _onggi onggi
"""
_ZSH = r"""#compdef onggi
# zsh completion for onggi; load it by:  source <(onggi completion zsh)
_onggi() {
    local line word about files=
    local -a found
    while IFS=$'\t' read -r word about; do
        if [[ "$word" == ":files" ]]; then
            files=1
        else
            found+=("${word//:/\\:}${about:+:$about}")
        fi
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#found} )) && _describe onggi found
    [[ -n "$files" ]] && _files
}
compdef _onggi onggi
"""
_FISH = r"""# fish completion for onggi; load it by:  onggi completion fish | source
function __onggi_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete $words[2..] 2>/dev/null)
        if string match -q ':files*' -- $line
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c onggi -f -a '(__onggi_complete)'
"""
_SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


def run(cli: Cli, options: Options, arguments: list[str]) -> None:
    """Print the completion script for a shell."""
    script = _SCRIPTS.get(arguments[0])
    if script is None:
        raise Failure(
            f"{PROGRAM}: no completion for '{arguments[0]}': there is one for {', '.join(_SCRIPTS)}"
        )
    print(script, end="")


COMMAND = Command(
    "completion bash|fish|zsh",
    run,
    about="Print the script that completes commands, flags and names in a shell",
    arguments=(1, 1),
)
