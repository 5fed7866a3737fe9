#!/usr/bin/env bash
# Brings the parts of the test suite that are no Python packages, if they are absent:
#   kafka         Apache Kafka's jars into .cache/kafka (a JDK or JRE >= 17, Maven)
#   prometheus    prometheus and promtool
#   alertmanager  prometheus-alertmanager and amtool
#   chromium      a Chromium for the pages' tests
#
#   tools/fetch.sh [PART...]     bring these parts (default: all)
#   tools/fetch.sh --list        say what is here, change nothing
#
# Debian packages are installed only for a program that is missing, and only where that needs no password (root on a
# system with apt-get). Elsewhere the command to type is printed. A part that cannot be had is a warning: its tests are
# skipped with a reason. With CI=true it is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly cache=.cache/kafka pom=tools/kafka/pom.xml
missing=()

say() { printf 'fetch: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

quietly() {  # command...: its output is shown only if it fails
  local log status=0
  log="$(mktemp)"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [[ $status -ne 0 ]]; then tail -n 20 "$log"; fi
  rm -f "$log"
  return "$status"
}

first_of() {  # the first of these programs that exists
  local name
  for name in "$@"; do
    if have "$name"; then printf '%s' "$name"; return; fi
  done
  return 1
}

java_version() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p;q'; }
has_java() { have java && [[ "$(java_version)" -ge 17 ]] 2>/dev/null; }
has_prometheus() { have prometheus && have promtool; }
has_alertmanager() { first_of prometheus-alertmanager alertmanager >/dev/null && have amtool; }
has_chromium() { first_of chromium chromium-browser google-chrome-stable google-chrome >/dev/null; }
has_kafka() { has_java && cmp -s "$pom" "$cache/pom.xml"; }

apt_updated=no
apt_install() {  # packages
  if ! have apt-get; then
    say "cannot install $*: no apt-get here"
    return 1
  fi
  if [[ "$(id -u)" != 0 ]]; then
    say "cannot install $*: not root. Type: sudo apt-get install --no-install-recommends $*"
    return 1
  fi
  say "installing $* (Debian packages)"
  local options=(-q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
  if [[ "$apt_updated" = no ]]; then
    quietly apt-get "${options[@]}" update || return 1
    apt_updated=yes
  fi
  # RUNLEVEL=1: the packages' own services are not started; the tests start theirs.
  quietly env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get "${options[@]}" install --no-install-recommends "$@"
}

fetch_prometheus() { apt_install prometheus; }
fetch_alertmanager() { apt_install prometheus-alertmanager; }
fetch_chromium() { apt_install chromium fonts-dejavu-core; }
fetch_kafka() {
  local packages=()
  has_java || packages+=(openjdk-17-jre-headless)
  have mvn || packages+=(maven)
  if [[ ${#packages[@]} -gt 0 ]]; then apt_install "${packages[@]}" || return 1; fi
  say "copying Apache Kafka's jars to $cache (Maven)"
  mkdir -p .cache
  local fresh options=(--batch-mode --quiet --strict-checksums --no-transfer-progress -Dstyle.color=never)
  fresh="$(mktemp -d .cache/kafka.XXXXXX)"
  chmod 755 "$fresh"
  if quietly mvn "${options[@]}" -f "$pom" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$PWD/$fresh"; then
    cp "$pom" "$fresh/pom.xml"
    rm -rf "$cache"
    mv "$fresh" "$cache"
  else
    rm -rf "$fresh"
    return 1
  fi
}

part() {  # name
  case "$1" in
    kafka | prometheus | alertmanager | chromium) ;;
    *)
      say "unknown part '$1' (kafka, prometheus, alertmanager, chromium)"
      exit 2
      ;;
  esac
  "has_$1" && return
  if [[ "$list" = yes ]] || ! "fetch_$1" || ! "has_$1"; then missing+=("$1"); fi
}

list=no
if [[ "${1:-}" = --list ]]; then
  list=yes
  shift
fi
if [[ "${1:-}" = --help || "${1:-}" = -h ]]; then
  sed -n '2,/^set -/{s/^# \{0,1\}//;/^set -/d;p}' "${BASH_SOURCE[0]}"
  exit
fi
[[ $# -gt 0 ]] || set -- kafka prometheus alertmanager chromium
for name in "$@"; do part "$name"; done

if [[ ${#missing[@]} -eq 0 ]]; then
  say "all here: $*"
elif [[ "${CI:-}" = true ]]; then
  say "missing: ${missing[*]}. CI=true, so this is an error"
  exit 1
else
  say "missing: ${missing[*]}. Their tests are skipped, each with its reason"
fi
