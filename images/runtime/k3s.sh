#!/bin/sh
# Runs k3ts. `server` and `agent` run under a supervisor: after a crash or a signal the process starts again while its
# containers keep running; a normal end, or an error that a restart cannot cure (64 usage, 78 configuration), ends this too.
program=/usr/lib/k3ts/k3ts.mjs
# The image brings this cache and the flags that it was made with: V8 ignores one that was made with others.
export NODE_COMPILE_CACHE=/usr/lib/k3ts/cache
read -r flags < /usr/lib/k3ts/flags

name=${0##*/}
case $name in
  k3s | k3ts) ;;
  k3s-*) set -- "${name#k3s-}" "$@" ;;
  *) set -- "$name" "$@" ;;
esac

case "${1:-}" in
  server | agent) ;;
  # shellcheck disable=SC2086
  *) exec node $flags $program "$@" ;;
esac
case " $* " in
  *' --help '* | *' -h '* | *' --version '*) exec node $flags $program "$@" ;;
esac

stopping=
child=
stop() {
  stopping=1
  [ -n "$child" ] && kill -"$1" "$child" 2> /dev/null
}
trap 'stop TERM' TERM
trap 'stop INT' INT
trap 'stop QUIT' QUIT
trap '[ -n "$child" ] && kill -HUP "$child"' HUP

pause=0
while :; do
  started=$(date +%s)
  # shellcheck disable=SC2086
  node $flags $program "$@" &
  child=$!
  # `wait` also returns when a signal was caught; the child decides when it is done.
  while :; do
    wait "$child"
    code=$?
    kill -0 "$child" 2> /dev/null || break
  done
  child=
  case $code in 0 | 64 | 78) exit "$code" ;; esac
  [ -n "$stopping" ] && exit "$code"
  # A process that lived for a while starts again at once; one that dies over and over waits longer each time.
  if [ $(($(date +%s) - started)) -ge 30 ]; then pause=0; fi
  echo "k3ts $1 ended with code $code; starting it again in $pause s" >&2
  sleep "$pause" &
  wait $!
  [ -n "$stopping" ] && exit "$code"
  pause=$((pause * 2 + 1))
  [ "$pause" -gt 30 ] && pause=30
done
