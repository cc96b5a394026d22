#!/bin/sh
# Lets the kernel run programs of the architectures $@ (amd64, arm64, arm) by QEMU, until the standard input ends: whoever
# asked for it may die at any moment, and the machine is as it was. What the machine emulates already is left to it.
set -eu
kernel=/proc/sys/fs/binfmt_misc
[ -e "$kernel/register" ] || busybox mount -t binfmt_misc binfmt_misc "$kernel"

# How programs begin: with 64 or 32 bits ($1), low bytes first, the number of the machine ($2). The mask lets any system's pass.
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
head() { printf '\\x7fELF\\x%s\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x%s\\x00' "$1" "$2"; }
mine=
leave() {
  for name in $mine; do echo -1 > "$kernel/$name"; done
}
# However this ends.
trap leave EXIT
trap 'exit 0' TERM INT
for architecture in "$@"; do
  case $architecture in
    amd64) machine=3e program=qemu-x86_64 magic=$(head 02 3e) ;;
    arm64) machine=b7 program=qemu-aarch64 magic=$(head 02 b7) ;;
    arm) machine=28 program=qemu-arm magic=$(head 01 28) ;;
    *) echo "unknown architecture \"$architecture\"" >&2; exit 64 ;;
  esac
  # It would have to emulate QEMU, too, and nothing on the machine would start any more.
  case $architecture-$(busybox uname -m) in
    amd64-x86_64 | arm64-aarch64 | arm-armv*) echo "this machine is $architecture itself" >&2; exit 64 ;;
  esac
  # The kernel opens QEMU now (F), so that containers without it find it: an entry that does not is of no use there, and one of
  # another run of this may end before this does.
  present=
  for entry in "$kernel"/*; do
    case ${entry##*/} in register | status | k3ts-*) continue ;; esac
    if busybox grep -q "^magic 7f454c46.*0200${machine}00\$" "$entry" && busybox grep -q '^flags:.*F' "$entry" && busybox grep -q '^enabled' "$entry"; then
      present=${entry##*/}
    fi
  done
  if [ -n "$present" ]; then
    echo "$architecture is emulated here already, by $present"
    continue
  fi
  # A name of its own: several of these at once do not take each other's entry away.
  name=k3ts-$architecture-$(busybox hostname)
  printf '%s' ":$name:M::$magic:$mask:/bin/$program:POCF" > "$kernel/register"
  mine="$mine $name"
done
echo ready
# In the background, so that a signal is heard at once; what a shell starts there has no standard input unless by another number.
exec 3<&0
busybox cat <&3 > /dev/null &
wait
