# Sourced by scripts/run: what "bash scripts/run completion" prints. The names and options in it are
# read from the scripts' text, so that Tab starts no Python. Kept to bash 3.2; zsh through
# bashcompinit.

options_of() { # option names of a script, and its subcommands after a "|"
  awk '
    /^def [a-z]+\($/ { inside = 1; name = substr($2, 1, length($2) - 1); next }
    inside && /^\) ->/ { flush_option(); inside = 0; if (name != "main") commands = commands " " name }
    !inside { next }
    /^    [a-z_]+: / { flush_option(); split($1, parts, ":"); param = parts[1]; text = "" }
    { text = text " " $0 }
    function flush_option(   flags, count, i, pieces, plain) {
      if (param != "" && text !~ /typer\.Argument\(/) {
        if (match(text, /"--[a-z\/-]+"/)) {
          flags = substr(text, RSTART + 1, RLENGTH - 2)
        } else if (alias[param] != "") {
          flags = alias[param]
        } else {
          plain = param; gsub(/_/, "-", plain)
          flags = "--" plain (text ~ /\[ *bool,|: bool/ ? "/--no-" plain : "")
        }
        count = split(flags, pieces, "/")
        for (i = 1; i <= count; i++) seen[pieces[i]] = 1
      }
      param = ""
    }
    /^Pairs = / { alias["coords"] = "--coords" }
    END { for (one in seen) printf "%s ", one; printf "--json --debug --help |%s\n", commands }
  ' "$1"
}

print_completion() {
  local name studies
  studies=$(cd "$root/data/published" 2>/dev/null && for name in */study.toml; do printf '%s ' "${name%/*}"; done)
  cat <<'HEAD'
# Tab completion for HER2 workbench. Use:  eval "$(bash scripts/run completion)"
if [ -n "${ZSH_VERSION:-}" ]; then autoload -U +X compinit bashcompinit; compinit -i; bashcompinit; fi
_her2_run() {
  local first=1 word=${COMP_WORDS[COMP_CWORD]} before name offered=''
  COMPREPLY=()
  case ${COMP_WORDS[0]} in bash | sh | */bash) first=2 ;; esac
  case ${COMP_WORDS[first-1]} in scripts/run | */scripts/run) ;; *) return 0 ;; esac
  name=${COMP_WORDS[first]:-}
  before=${COMP_WORDS[COMP_CWORD-1]}
  if [ "$COMP_CWORD" -eq "$first" ]; then
HEAD
  printf '    offered="%s"\n' "$(names | sort | tr '\n' ' ')"
  printf '  elif [ "$before" = --study ]; then\n    offered="%s"\n  else\n    case $name in\n' "$studies"
  for name in $(names | sort); do
    [ -f "$root/scripts/$name.py" ] || continue
    printf '      %s) offered="%s" ;;\n' "$name" "$(options_of "$root/scripts/$name.py" | tr '|' ' ')"
  done
  cat <<'TAIL'
    esac
    # names of files come from the shell; subcommands only right after the script's name
    case $word in
      -*) offered=$(printf '%s\n' $offered | grep -e '^--' | tr '\n' ' ') ;;
      *)
        [ "$COMP_CWORD" -eq $((first + 1)) ] || return 0
        offered=$(printf '%s\n' $offered | grep -v -e '^-' | tr '\n' ' ')
        ;;
    esac
  fi
  COMPREPLY=($(compgen -W "$offered" -- "$word"))
}
complete -o default -o bashdefault -F _her2_run bash scripts/run ./scripts/run
TAIL
}
