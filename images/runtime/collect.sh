# Builds a node's root file system in $1: the named programs, the libraries that they load, and what they read.
set -eu
root=$1
triplet=$(basename "$(dirname "$(ls /usr/lib/*/libc.so.6)")")
mkdir -p "$root/bin/aux" "$root/etc/ssl/certs" "$root/usr/lib/$triplet" "$root/usr/lib/cni" "$root/usr/libexec/k3ts" "$root/usr/share/k3ts/images" "$root/run" "$root/var/run" \
  "$root/var/log" "$root/var/lib" "$root/usr/lib/modules" "$root/usr/lib/firmware" "$root/proc" "$root/sys" "$root/dev" "$root/root"
mkdir -m 1777 "$root/tmp" "$root/var/tmp"
ln -s ../bin "$root/usr/bin"
ln -s ../bin "$root/usr/sbin"
ln -s bin "$root/sbin"
ln -s usr/lib "$root/lib"

# Programs that a shell or another program must find before busybox' own go to /bin, as K3s' do.
put() {
  target=$1
  shift
  for name in "$@"; do
    program=$(command -v "$name")
    install -m 755 "$(readlink -f "$program")" "$root/$target/$name"
  done
}
put bin node containerd containerd-shim-runc-v2 runc nft ip ss bridge tini conntrack ipset ethtool socat busybox \
  nsenter losetup blkid pigz
ln -s pigz "$root/bin/unpigz"
put usr/libexec/k3ts ctr
ln -s ../usr/libexec/k3ts/ctr "$root/bin/ctr"
put bin/aux mount umount xtables-nft-multi xtables-legacy-multi
install -m 755 "$(readlink -f "$(command -v modprobe)")" "$root/bin/kmod"
ln -s ../kmod "$root/bin/aux/modprobe"
for name in bandwidth bridge host-local loopback portmap; do
  install -m 755 "/usr/lib/cni/$name" "$root/usr/lib/cni/$name"
done
install -m 755 /build/iptables-detect.sh "$root/bin/aux/iptables-detect.sh"
for family in iptables ip6tables; do
  for suffix in '' -save -restore; do
    ln -s iptables-detect.sh "$root/bin/aux/$family$suffix"
    ln -s xtables-nft-multi "$root/bin/aux/$family-nft$suffix"
    ln -s xtables-legacy-multi "$root/bin/aux/$family-legacy$suffix"
  done
done
for applet in $(busybox --list); do
  case $applet in dpkg | dpkg-deb | rpm | rpm2cpio | init | linuxrc | halt | poweroff | reboot) continue ;; esac
  [ -e "$root/bin/$applet" ] || [ -L "$root/bin/aux/$applet" ] || [ -e "$root/bin/aux/$applet" ] || ln -s busybox "$root/bin/$applet"
done

install -m 755 /build/k3s.sh "$root/bin/k3s"
for name in k3ts crictl k3s-agent k3s-server k3s-token k3s-etcd-snapshot k3s-secrets-encrypt k3s-certificate k3s-completion; do
  ln -s k3s "$root/bin/$name"
done

# Libraries: what the loader finds for each program, and what iptables loads by name.
cp -a "/usr/lib/$triplet/xtables" "$root/usr/lib/$triplet/"
find "$root" -type f -perm /111 | while read -r file; do ldd "$file" 2> /dev/null || true; done \
  | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u | while read -r library; do
    real=$(readlink -f "$library")
    [ -e "$root$real" ] || install -D -m 755 "$real" "$root$real"
    directory=$(readlink -f "$(dirname "$library")")
    name=$(basename "$library")
    [ -e "$root$directory/$name" ] || ln -s "$(basename "$real")" "$root$directory/$name"
  done
# The loader's path is written into every program.
for loader in /lib64/ld-linux-* /lib/ld-linux-*; do
  [ -e "$loader" ] || continue
  real=$(readlink -f "$loader")
  [ -e "$root$real" ] || install -D -m 755 "$real" "$root$real"
  mkdir -p "$root$(dirname "$loader")"
  [ -e "$root$loader" ] || ln -s "$real" "$root$loader"
done
# Parts of Node that Debian keeps outside its library.
for file in undici/undici-fetch.js acorn/dist/acorn.js acorn-walk/dist/walk.js; do
  install -D -m 644 "$(readlink -f "/usr/share/nodejs/$file")" "$root/usr/share/nodejs/$file"
done
strings -a "/usr/lib/$triplet"/libnode.so.* | grep -E '^/usr/share/nodejs/.*\.js$' | while read -r file; do
  [ -e "$root$file" ] || echo "Node also reads $file" >&2
done

find "$root" -type f \( -name '*.so*' -o -perm /111 \) -exec strip --strip-unneeded {} + 2> /dev/null || true
ldconfig -r "$root"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo 'root:x:0:0:root:/root:/bin/sh' > "$root/etc/passwd"
echo 'root:x:0:' > "$root/etc/group"
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"
cp /etc/protocols /etc/services "$root/etc/" 2> /dev/null || true

# kubectl is only for servers: it is larger than everything else but Node.
mkdir -p /kubectl-fs/bin /kubectl-fs/usr/libexec/k3ts
install -m 755 "$(command -v kubectl)" /kubectl-fs/usr/libexec/k3ts/kubectl
install -m 755 /build/kubectl.sh /kubectl-fs/bin/kubectl
