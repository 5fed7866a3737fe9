#!/usr/bin/env bash
# Makes a virtual environment from a lock file and installs the project into it, editable.
#
#   tools/setup.sh VENV LOCKFILE STAMP…   (usually through `make setup` or `make demo`); notes in VENV/STAMP what it did
#   tools/setup.sh --check VENV           say what is wrong with what it did
#
# Needs Python 3.11 or newer with its venv module, and a package index that pip reaches. Every package is checked against
# the hash in the lock file. PYTHON=… names an interpreter; without it python3.11, then python3, then newer ones are tried.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  local name
  for name in ${PYTHON:-python3.11 python3 python3.14 python3.13 python3.12 python}; do
    if command -v "$name" >/dev/null 2>&1 && new_enough "$name"; then
      command -v "$name"
      return
    fi
  done
  if [[ -n "${PYTHON:-}" ]]; then
    fail "PYTHON=$PYTHON is no Python 3.11 or newer"
  fi
  fail "no Python 3.11 or newer found (tried python3.11, python3, python3.14 … python3.12, python)." \
    "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3"
}

make_venv() {
  local python
  python="$(find_python)"
  if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    fail "$python ($("$python" -V 2>&1)) cannot make virtual environments: its venv or ensurepip module is missing." \
      "Debian, Ubuntu: apt-get install python3-venv"
  fi
  say "making $venv with $("$python" -V 2>&1)"
  rm -rf "$venv"
  "$python" -m venv "$venv" || fail "making $venv failed"
}

# What is wrong with an environment that was moved, damaged, left by its interpreter or made with another Python than PYTHON.
amiss() {
  local stamp=.dev
  [[ -e "$venv/$stamp" ]] || stamp=.runtime
  if ! "$venv/bin/python" -c '' >/dev/null 2>&1; then
    echo "its Python does not run"
  elif [[ -n "${PYTHON:-}" && "$(version "$PYTHON")" != "$(version "$venv/bin/python")" ]]; then
    echo "PYTHON=$PYTHON is another Python"
  else
    "$venv/bin/python" tools/whole.py check "$venv" "$stamp" || true
  fi
}

version() { "$1" -c 'import sys; print(sys.version)' 2>/dev/null || true; }

if [[ "$1" == --check ]]; then
  readonly venv="$2"
  [[ ! -e "$venv" ]] || amiss
  exit
fi

readonly venv="$1" lock="$2"
if [[ ! -e "$venv" ]]; then
  make_venv
else
  wrong="$(amiss)"
  if [[ -n "$wrong" ]]; then
    say "$venv is of no use: $wrong"
    make_venv
  fi
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input)
say "installing $(grep -c '^[A-Za-z0-9]' "$lock") pinned packages from $lock, hashes checked (the first time takes a minute)"
"${pip[@]}" install --quiet --require-hashes --no-deps -r "$lock" ||
  fail "installing $lock failed, see above. There are wheels for Linux (x86_64) and macOS; elsewhere pip needs a C compiler."

# Without isolation the build uses the locked hatchling and asks the index for nothing.
say "installing salesgauge, editable"
"${pip[@]}" install --quiet --no-deps --no-build-isolation --editable . || fail "installing the project failed, see above."
"${pip[@]}" check >/dev/null || { "${pip[@]}" check >&2 || fail "the installed packages do not fit together, see above."; }
for stamp in "${@:3}"; do
  "$venv/bin/python" tools/whole.py note "$venv" "$stamp"
done
