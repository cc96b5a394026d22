# Unpacks the named packages of architecture $1, with all that they depend on, below $2. Nothing of them is run: a root file
# system of another architecture is made as fast as one of this machine's.
set -eu
architecture=$1
files=$2
shift 2
state=$(mktemp -d)
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
# An apt that knows one architecture, and a machine where nothing is installed yet.
: > "$state/status"
# The archive's index may be older than it promises on a machine that was offline or whose clock was moved.
apt() {
  apt-get -q -y -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root \
    -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" \
    -o "Dir::State=$state" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache" "$@"
}
apt update
apt install --download-only --no-install-recommends "$@"

# As Debian's systems have them since /usr holds everything.
mkdir -p "$files/usr"
for name in bin sbin lib; do
  mkdir -p "$files/usr/$name"
  ln -s "usr/$name" "$files/$name"
done
for package in "$state"/cache/archives/*.deb; do dpkg-deb -x "$package" "$files"; done
rm -r "$state"
