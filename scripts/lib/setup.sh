# Sourced by the scripts: a virtual environment with locked packages, made once.
#
# set_up NAME   installs requirements/NAME.lock into $VENV and sets $PY to its interpreter.
# Nothing is compiled: only wheels are installed, except where the lock says otherwise.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VENV=${QUORATE_VENV:-$ROOT/.venv}
export PYTHONPATH="$ROOT/src" PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf '%s\n' "$*" >&2; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  say "quorate needs Python 3.11 or newer. Install it (apt-get install python3) or set PYTHON."
  return 1
}

# debian PACKAGE COMMAND   installs a Debian package that provides COMMAND, when root.
debian() {
  command -v "$2" >/dev/null 2>&1 && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "installing the Debian package $1"
    { [ -n "${APT_UPDATED:-}" ] || apt-get update -qq; } >/dev/null 2>&1 && APT_UPDATED=1
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" \
      >/dev/null 2>&1 && return 0
  fi
  say "$2 is missing: apt-get install $1"
  return 1
}

make_venv() {
  local python
  python=$(find_python) || return 1
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    debian python3-venv "a module that no command provides" || true
    "$python" -c 'import ensurepip' 2>/dev/null || return 1
  fi
  say "making $VENV with $python"
  "$python" -m venv "$VENV"
}

set_up() {
  local lock="$ROOT/requirements/$1.lock" stamp
  [ -x "$VENV/bin/python" ] || make_venv || return 1
  PY="$VENV/bin/python"
  stamp="$VENV/.$1-$(sha256sum "$lock" | cut -c1-16)"
  if [ ! -e "$stamp" ]; then
    say "installing packages ($1)"
    "$PY" -m pip install -q --require-hashes -r "$lock" >&2 || return 1
    touch "$stamp"
  fi
}
