# Builds a node's root file system in $3 from the unpacked packages in $2, for the architecture that GNU's tools call $1: the
# named programs, the libraries that they load, and what they read. Programs of that architecture are read, never run.
set -eu
triplet=$1
files=$2
root=$3
libraries=/usr/lib/$triplet
mkdir -p "$root/bin/aux" "$root/etc/ssl/certs" "$root$libraries" "$root/usr/lib/cni" "$root/usr/libexec/k3ts" "$root/usr/share/k3ts/images" "$root/run" "$root/var/run" \
  "$root/var/log" "$root/var/lib" "$root/usr/lib/modules" "$root/usr/lib/firmware" "$root/proc" "$root/sys" "$root/dev" "$root/root"
mkdir -m 1777 "$root/tmp" "$root/var/tmp"
ln -s ../bin "$root/usr/bin"
ln -s ../bin "$root/usr/sbin"
ln -s bin "$root/sbin"
ln -s usr/lib "$root/lib"

# The file behind a path in the packages. Their links mean their own root, not this machine's.
real() {
  path=$1
  while [ -L "$files$path" ]; do
    target=$(readlink "$files$path")
    case $target in /*) path=$target ;; *) path=$(dirname "$path")/$target ;; esac
  done
  realpath -ms "$path"
}

# The path of a program in the packages.
find_program() {
  for directory in /usr/sbin /usr/bin; do
    if [ -e "$files$directory/$1" ] || [ -L "$files$directory/$1" ]; then
      echo "$directory/$1"
      return
    fi
  done
  echo "No package has the program $1" >&2
  return 1
}

# Programs that a shell or another program must find before busybox' own go to /bin, as K3s' do.
put() {
  target=$1
  shift
  for name in "$@"; do
    program=$(find_program "$name")
    install -m 755 "$files$(real "$program")" "$root/$target/$name"
  done
}
put bin node containerd containerd-shim-runc-v2 runc nft ip ss bridge tini conntrack ipset ethtool socat busybox \
  nsenter setpriv losetup blkid pigz
ln -s pigz "$root/bin/unpigz"
put usr/libexec/k3ts ctr
ln -s ../usr/libexec/k3ts/ctr "$root/bin/ctr"
put bin/aux mount umount xtables-nft-multi xtables-legacy-multi
put bin kmod
ln -s ../kmod "$root/bin/aux/modprobe"
for name in bandwidth bridge host-local loopback portmap; do
  install -m 755 "$files/usr/lib/cni/$name" "$root/usr/lib/cni/$name"
done
install -m 755 /build/iptables-detect.sh "$root/bin/aux/iptables-detect.sh"
for family in iptables ip6tables; do
  for suffix in '' -save -restore; do
    ln -s iptables-detect.sh "$root/bin/aux/$family$suffix"
    ln -s xtables-nft-multi "$root/bin/aux/$family-nft$suffix"
    ln -s xtables-legacy-multi "$root/bin/aux/$family-legacy$suffix"
  done
done
# This machine's busybox, of the same package, has the same applets.
for applet in $(busybox --list); do
  case $applet in dpkg | dpkg-deb | rpm | rpm2cpio | init | linuxrc | halt | poweroff | reboot) continue ;; esac
  [ -e "$root/bin/$applet" ] || [ -L "$root/bin/aux/$applet" ] || [ -e "$root/bin/aux/$applet" ] || ln -s busybox "$root/bin/$applet"
done

install -m 755 /build/k3s.sh "$root/bin/k3s"
for name in k3ts crictl k3s-agent k3s-server k3s-token k3s-etcd-snapshot k3s-secrets-encrypt k3s-certificate k3s-completion; do
  ln -s k3s "$root/bin/$name"
done

# Libraries: what iptables loads by name, and what programs and libraries say that they need. They need no cache of ldconfig:
# the loader looks into this folder by itself.
cp -a "$files$libraries/xtables" "$root$libraries/"
needed() {
  find "$root" -type f \( -perm /111 -o -name '*.so*' \) -exec "$triplet-readelf" -d {} + 2> /dev/null \
    | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u | grep -v '^ld-linux'
}
before=
while now=$(needed) && [ "$now" != "$before" ]; do
  for name in $now; do
    for directory in "$libraries" /usr/lib; do [ ! -e "$files$directory/$name" ] || break; done
    [ ! -e "$root$directory/$name" ] || continue
    [ -e "$files$directory/$name" ] || { echo "No package has the library $name" >&2; exit 1; }
    library=$(real "$directory/$name")
    install -m 755 "$files$library" "$root$library"
    [ -e "$root$directory/$name" ] || ln -s "${library##*/}" "$root$directory/$name"
  done
  before=$now
done
# The loader's path is written into every program.
loader=$("$triplet-readelf" -l "$root/bin/node" | sed -n 's/.*program interpreter: \(.*\)\]/\1/p')
library=$libraries/${loader##*/}
install -m 755 "$files$(real "$library")" "$root$library"
mkdir -p "$root$(dirname "$loader")"
ln -s "$library" "$root$loader"
# Parts of Node that Debian keeps outside its library.
for file in undici/undici-fetch.js acorn/dist/acorn.js acorn-walk/dist/walk.js; do
  install -D -m 644 "$files$(real "/usr/share/nodejs/$file")" "$root/usr/share/nodejs/$file"
done
"$triplet-strings" -a "$files$libraries"/libnode.so.* | grep -E '^/usr/share/nodejs/.*\.js$' | while read -r file; do
  [ -e "$root$file" ] || echo "Node also reads $file" >&2
done

find "$root" -type f \( -name '*.so*' -o -perm /111 \) -exec "$triplet-strip" --strip-unneeded {} + 2> /dev/null || true
# As update-ca-certificates joins them.
find "$files/usr/share/ca-certificates" -name '*.crt' | LC_ALL=C sort | xargs sed -se '$a\' > "$root/etc/ssl/certs/ca-certificates.crt"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
cp "$files/etc/protocols" "$files/etc/services" "$root/etc/"
