# shellcheck shell=bash
# Completion of qlora and qlora-worker for bash. Commands, options, their values and the keys of a configuration are asked of the
# programs themselves (--help, --help-config), so that nothing here has to be kept in step with them.

# The words that may follow; $1: what is typed so far.
_qlora_words() {
  local typed=$1
  shift
  mapfile -t COMPREPLY < <(compgen -W "$*" -- "$typed")
}

_qlora_files() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$@")
}

# Standard input: a command's --help. Standard output: its options, or what the value of option $1 may be.
_qlora_options() {
  sed -n 's/^  \(-[^ ]*\) .*/\1/p'
}
_qlora_value() {
  sed -n "s/^  $1 \([^ ][^ ]*\) *\(.*\)/\1 \2/p"
}

# "auto|cuda|cpu where to ..." are choices, "NAME ...: T4, H100" too, DIR and FILE are on the disk; others are the user's to know.
_qlora_complete_value() {
  local typed=$1 kind=${2%% *} meaning=${2#* }
  case $kind in
    *'|'*) _qlora_words "$typed" "${kind//|/ }" ;;
    NAME) _qlora_words "$typed" "$(tr -d , <<<"${meaning##*: }")" ;;
    DIR | OUTPUT_DIR) _qlora_files -d -- "$typed" ;;
    FILE) _qlora_files -f -- "$typed" ;;
  esac
}

_qlora_worker_of() {
  local beside=${1%/*}/qlora-worker
  if [[ $1 == */* && -x $beside ]]; then printf '%s' "$beside"; else printf 'qlora-worker'; fi
}

# "key=" for every key, or the values of the one that is there already.
_qlora_complete_key() {
  local worker=$1 typed=$2 key values
  if [[ $typed != *=* ]]; then
    _qlora_words "$typed" "$("$worker" --help-config 2>/dev/null | sed -n 's/^  \([a-z][a-z_0-9]*\) (.*/\1=/p')"
    compopt -o nospace 2>/dev/null
    return
  fi
  key=${typed%%=*}
  values=$("$worker" --help-config 2>/dev/null | sed -n "/^  $key (/,/^      Value:/ s/^      Value: \([a-z_0-9]*\(, [a-z_0-9]*\)* or [a-z_0-9]*\)\..*/\1/p")
  values=${values//,/}
  if [[ -n $values ]]; then _qlora_words "${typed#*=}" "${values// or / }"; else _qlora_files -f -- "${typed#*=}"; fi
}

# A word with "=" arrives in pieces where "=" parts words: put together again.
_qlora_typed() {
  local typed=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  if [[ $typed == = && $COMP_CWORD -gt 1 ]]; then typed=$before=; fi
  if [[ $before == = && $COMP_CWORD -gt 2 ]]; then typed=${COMP_WORDS[COMP_CWORD - 2]}=$typed; fi
  printf '%s' "$typed"
}

# $1: the help of a command, $2: the worker, $3: what is typed
_qlora_arguments() {
  local help=$1 worker=$2 typed=$3 before=${COMP_WORDS[COMP_CWORD - 1]} value=''
  if [[ $before == -* && $typed != *=* ]]; then value=$(_qlora_value "$before" <<<"$help"); fi
  if [[ -n $value ]]; then _qlora_complete_value "$typed" "$value"
  elif [[ $typed == -* ]]; then _qlora_words "$typed" "$(_qlora_options <<<"$help") --help"
  elif [[ $help == *CONFIG.yaml* && ($typed == *=* || ${COMP_WORDS[*]} == *.yaml*) ]]; then _qlora_complete_key "$worker" "$typed"
  else _qlora_files -f -- "$typed"; fi
}

_qlora() {
  local program=${1/#\~/$HOME} typed
  COMPREPLY=()
  typed=$(_qlora_typed)
  if [[ $COMP_CWORD == 1 ]]; then
    _qlora_words "$typed" "$("$program" --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p') --help --version"
  else
    _qlora_arguments "$("$program" "${COMP_WORDS[1]}" --help 2>/dev/null)" "$(_qlora_worker_of "$program")" "$typed"
  fi
}

_qlora_worker() {
  local program=${1/#\~/$HOME}
  COMPREPLY=()
  _qlora_arguments "$("$program" --help 2>/dev/null | sed 's/^    -/  -/')" "$program" "$(_qlora_typed)"
}

complete -F _qlora qlora
complete -F _qlora_worker qlora-worker
