#!/usr/bin/env bash
# Makes a virtual environment from a lock file and installs the project into it, editable.
#
#   tools/setup.sh VENV LOCKFILE        (usually through `make setup` or `make demo`)
#
# Needs Python 3.11 or newer with its venv module, and a package index that pip reaches. Every package is checked against
# the hash in the lock file. PYTHON=… names an interpreter; without it python3.11, then python3, then newer ones are tried.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv="$1" lock="$2"

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

# A virtual environment whose interpreter has gone, or that was moved here from elsewhere, is made anew.
usable() {
  [[ -x "$venv/bin/python" ]] && new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
    [[ "$("$venv/bin/python" -c 'import sys; print(sys.prefix)')" = "$(cd "$venv" && pwd -P)" ]]
}

usable || make_venv

pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input)
say "installing $(grep -c '^[A-Za-z0-9]' "$lock") pinned packages from $lock, hashes checked (the first time takes a minute)"
"${pip[@]}" install --quiet --require-hashes --no-deps -r "$lock" ||
  fail "installing $lock failed, see above. There are wheels for Linux (x86_64) and macOS; elsewhere pip needs a C compiler."

# Without isolation the build uses the locked hatchling and asks the index for nothing.
say "installing salesgauge, editable"
"${pip[@]}" install --quiet --no-deps --no-build-isolation --editable . || fail "installing the project failed, see above."
"${pip[@]}" check >/dev/null || { "${pip[@]}" check >&2 || fail "the installed packages do not fit together, see above."; }
