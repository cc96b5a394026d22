#!/bin/sh
# Makes this Linux machine a node of Kubernetes by k3ts, in a container of its Docker or Podman. Takes what K3s' install
# script takes:
#
#   curl -sfL …/install.sh | sh -                                                 a server
#   curl -sfL …/install.sh | K3S_URL=https://SERVER:6443 K3S_TOKEN=… sh -         an agent that joins it
#   curl -sfL …/install.sh | INSTALL_K3S_EXEC="--disable=servicelb" sh -          with flags of `k3s server`
#   curl -sfL …/install.sh | sh -s - server --disable=servicelb                   the same
#
# The same line again upgrades, and keeps all data; where nothing is new, it changes nothing.
#
#   INSTALL_K3S_EXEC                  the command (server, agent) and its flags; arguments of the script come after these
#   INSTALL_K3S_VERSION               the release, for example v1.36.4+k3ts1
#   INSTALL_K3S_CHANNEL               a channel of releases, which is a tag of the images; default "latest"
#   INSTALL_K3S_NAME                  the container is named k3s-NAME instead of k3s or k3s-agent
#   INSTALL_K3S_SKIP_START=true       make everything, start nothing
#   INSTALL_K3S_SKIP_ENABLE=true      the same, and do not start with the machine either
#   INSTALL_K3S_FORCE_RESTART=true    restart also when nothing is new
#   INSTALL_K3S_SKIP_DOWNLOAD=true    use the image that the engine has
#   INSTALL_K3S_SYMLINK=skip|force    make no kubectl, crictl and ctr; or make them also where others stand
#   INSTALL_K3S_BIN_DIR               where the commands go; default /usr/local/bin
#   INSTALL_K3S_BIN_DIR_READ_ONLY=true  make no commands there
#   K3S_*, CONTAINERD_*, *_PROXY      settings of the node, kept in /etc/rancher/k3s/<name>.env (mode 0600)
#   K3TS_IMAGES_FILE                  an archive of the images (docker save) for machines without a registry; checked
#                                     against the SHA-256 sum in <file>.sha256 where that exists
#   K3TS_REGISTRY                     where to pull from; default docker.io
#   K3TS_ENGINE=docker|podman         default: docker where it is installed
set -euf
newline='
'

# What this script leaves on the machine, beside data and commands.
config_dir=/etc/rancher/k3s
label=k3ts.install
default_data_dir=/var/lib/rancher/k3s
command_mark='# Installed by install.sh of k3ts.'

say() { printf '[INFO]  %s\n' "$*"; }
warn() { printf '[WARN]  %s\n' "$*" >&2; }
fail() {
  printf '[ERROR] %s\n' "$*" >&2
  exit 1
}

# --- what is asked for ---

# Names of the exported variables that a pattern (grep -E) fits, in order.
exported() { env | grep -E "^($1)=" | sed 's/=.*//' | sort -u; }

value_of() { eval "printf '%s' \"\${$1-}\""; }

one_of() {
  name=$1 value=$2
  shift 2
  for allowed; do [ "$value" != "$allowed" ] || return 0; done
  fail "$name=\"$value\" is not understood: give one of: $*."
}

# Every INSTALL_K3S_ variable is honoured, or said not to be: none is passed over in silence.
check_environment() {
  for name in $(exported 'INSTALL_K3S_[A-Za-z0-9_]*'); do
    value=$(value_of "$name")
    [ -n "$value" ] || continue
    case ${name#INSTALL_K3S_} in
      EXEC | NAME | VERSION | CHANNEL) ;;
      SKIP_START | SKIP_ENABLE | FORCE_RESTART | BIN_DIR_READ_ONLY) one_of "$name" "$value" true false ;;
      SKIP_DOWNLOAD) one_of "$name" "$value" true false binary selinux ;;
      SYMLINK) one_of "$name" "$value" skip force ;;
      BIN_DIR) case $value in /*) ;; *) fail "$name=\"$value\" must be an absolute path." ;; esac ;;
      TYPE | SYSTEMD_DIR) say "$name has no effect: the container engine starts the node, there is no systemd unit." ;;
      SELINUX_WARN | SKIP_SELINUX_RPM) say "$name has no effect: a container needs no SELinux package." ;;
      CHANNEL_URL) fail "$name is not supported: channels are tags of the images; set INSTALL_K3S_CHANNEL and K3TS_REGISTRY." ;;
      COMMIT | PR | ARTIFACT_URL) fail "$name is not supported: set INSTALL_K3S_VERSION, or K3TS_IMAGES_FILE to images of your own." ;;
      *) fail "$name is not known: unset it." ;;
    esac
  done
  [ -z "${K3TS_ENGINE:-}" ] || one_of K3TS_ENGINE "$K3TS_ENGINE" docker podman
  case ${K3S_URL:-} in
    '' | https://*) ;;
    *) fail "K3S_URL=\"$K3S_URL\" is not supported: give an https:// URL." ;;
  esac
}

is_true() { [ "$(value_of "$1")" = true ]; }

# INSTALL_K3S_EXEC as one word a line: quotes and backslashes group, nothing is expanded.
words_of_exec() {
  [ -z "${INSTALL_K3S_EXEC:-}" ] || printf '%s\n' "$INSTALL_K3S_EXEC" | xargs -r -n 1 printf '%s\n' 2> /dev/null
}

# --- this machine ---

find_root() {
  sudo=
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo > /dev/null || fail "This is not root, and there is no sudo. Run it as root: curl -sfL … | su -c 'sh -'."
  sudo=sudo
  say "Using sudo for everything that changes this machine."
}

find_engine() {
  engine=${K3TS_ENGINE:-}
  if [ -z "$engine" ]; then
    for engine in docker podman ''; do
      [ -z "$engine" ] || ! command -v "$engine" > /dev/null || break
    done
  fi
  [ -n "$engine" ] || fail "No container engine on this machine. Install Docker (docs.docker.com/engine/install) or Podman, and run this again."
  command -v "$engine" > /dev/null || fail "K3TS_ENGINE=\"$engine\" is not installed on this machine."
  case ${DOCKER_HOST:-unix:} in
    unix:*) ;;
    *) fail "DOCKER_HOST=\"$DOCKER_HOST\" is not this machine. Run this on the machine that becomes a node, with DOCKER_HOST unset." ;;
  esac
  if ! problem=$(run_engine version 2>&1); then
    printf '%s\n' "$problem" >&2
    fail "$engine does not answer. Start it (systemctl start $engine) and run this again."
  fi
  case $(run_engine info --format '{{.SecurityOptions}}' 2> /dev/null || run_engine info --format 'rootless={{.Host.Security.Rootless}}') in
    *name=rootless* | rootless=true) fail "$engine runs without root here. A node needs an engine that runs as root." ;;
  esac
}

# Never with this script's own standard input, which may be the script.
run_engine() { $sudo "$engine" "$@" < /dev/null; }

find_bin_dir() {
  bin_dir=${INSTALL_K3S_BIN_DIR:-}
  if [ -z "$bin_dir" ]; then
    bin_dir=/usr/local/bin
    # As K3s: systems with a read-only /usr have this one.
    if [ -d /opt/bin ] && ! $sudo sh -c "touch $bin_dir/.k3ts && rm $bin_dir/.k3ts" 2> /dev/null; then bin_dir=/opt/bin; fi
  fi
}

# A machine is one node: two would fight for its ports and its pod network.
check_others() {
  for other in "$bin_dir/k3s" "$(command -v k3s || true)" "/etc/systemd/system/$service.service" "/etc/init.d/$service"; do
    [ -e "$other" ] || continue
    grep -qF "$command_mark" "$other" || fail "$other is not of k3ts: K3s is installed here. Uninstall it first: k3s-uninstall.sh or k3s-agent-uninstall.sh."
  done
  for other in $(run_engine ps -a --filter "label=$label" --format '{{.Names}}'); do
    [ "$other" = "$service" ] || fail "This machine is a node already, by the container \"$other\". Uninstall that first: $other-uninstall.sh."
  done
  if [ -n "$(run_engine ps -aq --filter "name=^$service\$")" ] && [ -z "$(label_of "$label")" ]; then
    fail "A container \"$service\" is there that this script did not make. Remove it, or set INSTALL_K3S_NAME."
  fi
}

# A label of the service's container; nothing when either is missing.
label_of() { run_engine container inspect --format "{{index .Config.Labels \"$1\"}}" "$service" 2> /dev/null || true; }

# Docker starts containers with the machine only when it is started itself.
check_boot() {
  [ -d /run/systemd/system ] || return 0
  case $engine in
    docker) unit=docker.service ;;
    *) unit=podman-restart.service ;;
  esac
  systemctl is-enabled --quiet "$unit" 2> /dev/null ||
    warn "$unit is not enabled: the node does not start with the machine until you run: systemctl enable $unit"
}

# --- the image ---

# Sets image, image_id and before, which is image_id when the engine had that image already.
find_image() {
  tag=${INSTALL_K3S_VERSION:-${INSTALL_K3S_CHANNEL:-latest}}
  # "+" is not allowed in a tag.
  tag=$(printf '%s' "$tag" | tr + -)
  printf '%s' "$tag" | grep -qE '^[A-Za-z0-9_][A-Za-z0-9_.-]*$' || fail "\"$tag\" cannot be a tag of an image: give a release such as v1.36.4+k3ts1."
  image=${K3TS_REGISTRY:-docker.io}/k3ts/$command:$tag
  if [ -n "${K3TS_IMAGES_FILE:-}" ]; then
    load_images
  else
    before=$(image_id_of "$image")
    case ${INSTALL_K3S_SKIP_DOWNLOAD:-} in
      true | binary) say "Skipping the download: using $image as it is here" ;;
      *)
        if is_true INSTALL_K3S_BIN_DIR_READ_ONLY; then
          say "Skipping the download: INSTALL_K3S_BIN_DIR_READ_ONLY is set"
        else
          say "Pulling $image"
          run_engine pull -q "$image" > /dev/null || fail "$image cannot be pulled. Check INSTALL_K3S_VERSION, INSTALL_K3S_CHANNEL and K3TS_REGISTRY, or set K3TS_IMAGES_FILE to an archive of the images."
        fi
        ;;
    esac
  fi
  image_id=$(image_id_of "$image")
  [ -n "$image_id" ] || fail "$image is not in the engine. Load it with \"$engine load\", or unset INSTALL_K3S_SKIP_DOWNLOAD."
}

image_id_of() { run_engine image inspect --format '{{.Id}}' "$1" 2> /dev/null || true; }

load_images() {
  file=$K3TS_IMAGES_FILE
  $sudo test -f "$file" || fail "K3TS_IMAGES_FILE=\"$file\" is no file."
  if $sudo test -f "$file.sha256"; then
    wanted=$($sudo cat "$file.sha256" | sed 's/[[:space:]].*//;q')
    found=$($sudo sha256sum "$file" | sed 's/[[:space:]].*//')
    [ "$wanted" = "$found" ] || fail "K3TS_IMAGES_FILE=\"$file\" is damaged: its SHA-256 sum is $found, $file.sha256 says $wanted."
    say "$file has the sum that $file.sha256 says"
  else
    say "$file is taken as it is: there is no $file.sha256 to check it with"
  fi
  present=$(run_engine images --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}')
  say "Loading images from $file"
  loaded=$($sudo "$engine" load -i "$file" < /dev/null) || fail "K3TS_IMAGES_FILE=\"$file\" cannot be loaded: give what \"docker save\" wrote."
  names=$(printf '%s\n' "$loaded" | sed -n 's/^Loaded image[^:]*: *//p')
  loaded=$(printf '%s\n' "$names" | grep -E "(^|/)k3ts/$command:" || true)
  [ -z "${INSTALL_K3S_VERSION:-}" ] || loaded=$(printf '%s\n' "$loaded" | grep -E ":$(printf '%s' "$tag" | sed 's/[.]/\\./g')\$" || true)
  # A release's own tag rather than one that moves.
  image=$(printf '%s\n' "$loaded" | grep ':v[0-9]' | sed q)
  [ -n "$image" ] || image=$(printf '%s\n' "$loaded" | sed q)
  [ -n "$image" ] || fail "K3TS_IMAGES_FILE=\"$file\" has no image k3ts/$command${INSTALL_K3S_VERSION:+:$tag}."
  before=$(printf '%s\n' "$present" | sed -n "s/^\($(image_id_of "$image")\) .*/\1/p" | sed q)
  # What else the archive brought, such as the other role's image.
  for name in $names; do
    [ "$name" = "$image" ] || printf '%s\n' "$present" | grep -qF " $name" || run_engine rmi "$name" > /dev/null
  done
}

# Runs the image once: it shows that it works on this machine, and leaves kubectl here, with the libraries that it was
# built for. So kubectl is a program of this machine: it finds files, editors and plugins as everywhere.
check_image() {
  tools=$(tools_of "$image_id")
  if ! $sudo test -f "$tools/version"; then
    $sudo mkdir -p "$tools"
    # What was here before stays when this is uninstalled.
    [ "$image_id" = "$before" ] || $sudo touch "$tools/installed"
    # shellcheck disable=SC2016
    take_out='set -e
      k3s --version > /tools/version.new
      if [ -x /usr/libexec/k3ts/kubectl ]; then
        mkdir -p /tools/bin
        loader=$(ls -d /lib64/ld-linux-* /lib/ld-linux-* 2> /dev/null | head -n 1)
        cp /usr/libexec/k3ts/kubectl /tools/bin/
        cp -L "$loader" /tools/bin/loader
        "$loader" --list /usr/libexec/k3ts/kubectl | sed -n "s/.*=> \(\/[^ ]*\).*/\1/p" | while read -r library; do
          cp -L "$library" /tools/bin/
        done
      fi
      mv /tools/version.new /tools/version'
    run_engine run --rm --privileged --network none --entrypoint /bin/sh -v "$tools:/tools" "$image" -c "$take_out" ||
      forget_tools "$image does not run on this machine ($(uname -m))."
    $sudo test -f "$tools/version" || forget_tools "$engine runs on another machine: what its containers write does not come here. Run this on the machine that becomes a node."
  fi
  version=$($sudo cat "$tools/version" | sed -n '1s/^[^ ]* version \([^ ]*\).*/\1/p')
  say "Using $version as release"
  [ -z "${INSTALL_K3S_VERSION:-}" ] || [ "$INSTALL_K3S_VERSION" = "$version" ] ||
    fail "$image is $version, not INSTALL_K3S_VERSION=\"$INSTALL_K3S_VERSION\"."
}

# Fails, and leaves nothing of the try.
forget_tools() {
  $sudo rm -rf "$tools"
  $sudo rmdir "$data_dir/data" "$data_dir" /var/lib/rancher 2> /dev/null || true
  fail "$1"
}

tools_of() { printf '%s/data/%s' "$data_dir" "$(printf '%s' "${1#sha256:}" | cut -c 1-16)"; }

# --- the container ---

# What is set, by arguments, variables and the config file, as lines "key value".
settings() {
  key=
  for word; do
    case $word in
      --*=*) printf '%s\n' "${word#--}" | sed 's/=/ /' && key= ;;
      -*) key=${word#-} key=${key#-} ;;
      *) [ -z "$key" ] || printf '%s %s\n' "$key" "$word" && key= ;;
    esac
  done
  for name in $(exported 'K3S_[A-Za-z0-9_]*'); do
    key=$name
    case $name in
      K3S_DATA_DIR) key=data-dir ;;
      K3S_KUBECONFIG_OUTPUT) key=write-kubeconfig ;;
      K3S_CONFIG_FILE) key=config ;;
    esac
    printf '%s %s\n' "$key" "$(value_of "$name")"
  done
}

# The settings of YAML files, as far as lines tell them: "key value".
settings_of_files() {
  set +f
  for config in "$1" "$1".d/*.yaml; do
    $sudo test -f "$config" || continue
    $sudo cat "$config" | sed -n "s/[[:space:]]#.*//;s/^[[:space:]]*[\"']\{0,1\}\([a-z_-]\{1,\}\)[\"']\{0,1\}+\{0,1\}:[[:space:]]*[\"']\{0,1\}\([^\"']*[^\"'[:space:]]\)[\"']\{0,1\}[[:space:]]*\$/\1 \2/p
      s/^[[:space:]]*-[[:space:]]*[\"']\{0,1\}\([^\"']*[^\"'[:space:]]\)[\"']\{0,1\}[[:space:]]*\$/- \1/p"
  done
  set -f
}

# The first value of any of the keys ("a|b") in lines of settings.
setting() { printf '%s\n' "$2" | sed -nE "s/^($1) //p" | sed q; }

option() {
  for word; do options=$options$word$newline; done
}

# A path of this machine at the same place in the container.
share() {
  case $newline$options in
    *"$newline$1:"*) ;;
    *) option -v "$1:$1${2:-}" ;;
  esac
}

# A directory that the node writes to; it is made when all else is known to be right.
share_directory() {
  case $1 in
    / | /bin | /boot | /dev | /etc | /lib | /lib64 | /proc | /run | /sbin | /sys | /usr | /usr/* | /var | /var/lib | /var/run)
      fail "\"$1\" cannot be a directory of the node's own files: choose a directory below it."
      ;;
    /*) ;;
    *) fail "\"$1\" must be an absolute path." ;;
  esac
  directories=$directories$1$newline
  share "$1"
}

make_directories() {
  printf '%s' "$directories" | while read -r path; do $sudo mkdir -p "$path"; done
}

# Sets options: the engine's for the node's container.
choose_options() {
  all=$(settings "$@")
  config=$(setting 'config|c' "$all")
  config=${config:-$config_dir/config.yaml}
  all=$all$newline$(settings_of_files "$config")
  data_dir=$(setting 'data-dir|d' "$all")
  data_dir=${data_dir:-$default_data_dir}
  options=
  directories=
  # The machine's own network: the node has the machine's name and address, as with K3s, so that nodes on other
  # machines, node ports and host ports reach it. A published 6443 alone would make a cluster of this machine only.
  option --name "$service" --privileged --network host --uts host --tmpfs /run --tmpfs /var/run
  share_directory "$data_dir"
  option -v /etc/rancher:/etc/rancher
  # What K3s keeps there, too: so an upgrade keeps the pods' own volumes, addresses and logs.
  for path in /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers; do share_directory "$path"; done
  for path in /lib/modules /etc/machine-id "$config.d"; do
    case $path in /etc/rancher/*) continue ;; esac
    [ ! -e "$path" ] || share "$path" :ro
  done
  # Registries are trusted as this machine trusts them.
  for path in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
    [ -e "$path" ] || continue
    option -v "$path:/etc/ssl/certs/ca-certificates.crt:ro"
    break
  done
  # Files that settings name, and those of registries.
  registries=$(setting private-registry "$all")
  all=$all$newline$(settings_of_files "${registries:-$config_dir/registries.yaml}")
  while read -r key value; do
    case $key in
      etcd-snapshot-dir | default-local-storage-path) share_directory "$value" ;;
      write-kubeconfig | o | log | l) case $value in /etc/rancher/*) ;; *) share_directory "$(dirname "$value")" ;; esac ;;
      *)
        value=${value##*=}
        case $value in
          /etc/rancher/* | "$data_dir"/* | /etc/ssl/certs/ca-certificates.crt) ;;
          /*) ! $sudo test -f "$value" || share "$value" :ro ;;
        esac
        ;;
    esac
  done << END
$all
END
  if [ "$engine" = docker ] && [ "$(run_engine info --format '{{.LoggingDriver}}')" = json-file ]; then
    # It keeps everything for ever otherwise.
    option --log-opt max-size=20m --log-opt max-file=5
  fi
  restart=unless-stopped
  ! is_true INSTALL_K3S_SKIP_ENABLE || restart=no
  # Podman's service for boot knows no other kind.
  [ "$engine/$restart" != podman/unless-stopped ] || restart=always
  option --restart "$restart" --env-file "$env_file"
}

# The node's variables. They are a file of their own, so that no list of processes shows a token.
node_environment() {
  for name in $(exported 'K3S_[A-Za-z0-9_]*|CONTAINERD_[A-Za-z0-9_]*|[Nn][Oo]_[Pp][Rr][Oo][Xx][Yy]|[Hh][Tt][Tt][Pp][Ss]?_[Pp][Rr][Oo][Xx][Yy]'); do
    # Where containerd is, the image knows.
    case $name in CONTAINERD_ADDRESS | CONTAINERD_NAMESPACE) continue ;; esac
    value=$(value_of "$name")
    case $value in *"$newline"*) fail "$name has more than one line; give it in $config_dir/config.yaml instead." ;; esac
    printf '%s=%s\n' "$name" "$value"
  done
}

# Makes the container anew when it is not what is asked for. Sets changed.
make_container() {
  IFS=$newline
  # shellcheck disable=SC2086
  set -- $options "$image" "$command" "$@"
  IFS=$default_ifs
  wanted=$(printf '%s\n' "$image_id" "$environment" "$@" | sha256sum | cut -c 1-32)
  changed=
  [ "$(label_of "$label")" != "$wanted" ] || return 0
  changed=1
  old_image=$image_id
  if [ -n "$(label_of "$label")" ]; then
    old_image=$(run_engine container inspect --format '{{.Image}}' "$service")
    say "Removing the container $service of before; its data stays"
    run_engine stop "$service" > /dev/null
    run_engine rm -v "$service" > /dev/null
  fi
  say "Creating the container $service: privileged, on this machine's network, with data in $data_dir and settings in $config_dir"
  run_engine create --label "$label=$wanted" "$@" > /dev/null
  if [ "$old_image" != "$image_id" ] && $sudo test -f "$(tools_of "$old_image")/installed"; then
    say "Removing the image of before"
    run_engine rmi "$old_image" > /dev/null 2>&1 || warn "The image of before is in use by others, and stays."
  fi
  remove_old_tools
}

remove_old_tools() {
  set +f
  for old in "$data_dir"/data/*; do
    [ "$old" = "$tools" ] || $sudo rm -rf "$old"
  done
  set -f
}

start_container() {
  if is_true INSTALL_K3S_SKIP_START || is_true INSTALL_K3S_SKIP_ENABLE; then
    say "Not starting it. Start it with: $engine start $service"
    return 0
  fi
  since=$(date +%s)
  running=$(run_engine container inspect --format '{{.State.Running}}' "$service")
  if [ "$running" = false ]; then
    say "Starting $service"
    run_engine start "$service" > /dev/null
  elif is_true INSTALL_K3S_FORCE_RESTART; then
    say "Restarting $service"
    run_engine restart "$service" > /dev/null
  else
    say "No change detected, so $service is left running"
    return 0
  fi
  wait_until_up
}

# K3s' words for it.
wait_until_up() {
  up='k3s is up and running'
  [ "$command" = server ] || up='Successfully registered node'
  rounds=0
  while [ "$rounds" -lt 180 ]; do
    log=$(run_engine logs --since "$since" "$service" 2>&1)
    case $log in *"$up"*) return 0 ;; esac
    case $(run_engine container inspect --format '{{.State.Status}} {{.RestartCount}}' "$service") in
      'running 0') ;;
      *) give_up "$service ended before it was up" ;;
    esac
    sleep 1
    rounds=$((rounds + 1))
  done
  give_up "$service is not up after 180 seconds"
}

give_up() {
  log=$(run_engine logs --since "$since" "$service" 2>&1)
  reason=$(printf '%s\n' "$log" | grep 'level=fatal' | tail -n 1 | sed 's/.*level=fatal msg=//')
  [ -n "$reason" ] || reason=$(printf '%s\n' "$log" | tail -n 5)
  printf '%s\n' "$reason" >&2
  fail "$1. It is tried again; see \"$engine logs $service\". Mend the settings and run this again, or remove it: $uninstall."
}

# --- the commands ---

# A file with the standard input as content, unless it has that already.
write_file() {
  content=$(cat)
  if $sudo test -f "$1" && [ "$($sudo cat "$1")" = "$content" ]; then return 0; fi
  say "Writing $1"
  # shellcheck disable=SC2016
  printf '%s\n' "$content" | $sudo sh -c 'mkdir -p "$(dirname "$1")" && umask 077 && cat > "$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"' - "$1" "$2"
}

# Assignments of this script's variables, for one that it makes.
assign() {
  for name; do printf '%s=%s\n' "$name" "$(value_of "$name" | quote)"; done
}

quote() { sed "s/'/'\\\\''/g;1s/^/'/;\$s/\$/'/"; }

write_commands() {
  uninstall=$bin_dir/$service-uninstall.sh
  if is_true INSTALL_K3S_BIN_DIR_READ_ONLY; then
    say "Making no commands in $bin_dir: use \"$engine exec $service kubectl\"; remove it with \"$engine rm -fv $service\""
    uninstall="$engine rm -fv $service"
    return 0
  fi
  $sudo mkdir -p "$bin_dir"
  write_k3s | write_file "$bin_dir/k3s" 755
  write_killall | write_file "$bin_dir/k3s-killall.sh" 755
  write_uninstall | write_file "$uninstall" 755
  link_command k3ts
  [ "${INSTALL_K3S_SYMLINK:-}" != skip ] || return 0
  for name in kubectl crictl ctr; do link_command "$name"; done
}

link_command() {
  path=$bin_dir/$1
  [ "$(readlink "$path" || true)" != k3s ] || return 0
  if [ "${INSTALL_K3S_SYMLINK:-}" != force ]; then
    other=$(command -v "$1" || true)
    [ ! -e "$path" ] || other=$path
    if [ -n "$other" ]; then
      say "Skipping $path: $1 is there already, at $other"
      return 0
    fi
  fi
  say "Linking $path to k3s"
  $sudo ln -sf k3s "$path"
}

# `k3s`, by the names of its links, too. kubectl is a program of this machine; everything else runs in the container.
write_k3s() {
  printf '#!/bin/sh\n%s\n' "$command_mark"
  assign service engine image config_dir env_file tools
  cat << 'END'
set -euf
name=${0##*/}
case $name in
  k3s | k3ts) ;;
  k3s-*) set -- "${name#k3s-}" "$@" ;;
  *) set -- "$name" "$@" ;;
esac

if [ "${1:-}" = kubectl ]; then
  shift
  if [ ! -x "$tools/bin/loader" ]; then
    echo "k3s: there is no kubectl on an agent; use it on a server, or install it" >&2
    exit 1
  fi
  if [ -z "${KUBECONFIG:-}" ] && [ -e "$config_dir/k3s.yaml" ]; then
    if [ -r "$config_dir/k3s.yaml" ]; then
      export KUBECONFIG="$config_dir/k3s.yaml"
    else
      echo "k3s: cannot read $config_dir/k3s.yaml; use sudo, or start the server with --write-kubeconfig-mode" >&2
    fi
  fi
  exec "$tools/bin/loader" --library-path "$tools/bin" --argv0 kubectl "$tools/bin/kubectl" "$@"
fi

terminal=
if [ -t 0 ] && [ -t 1 ]; then terminal=-t; fi
if ! state=$("$engine" container inspect --format '{{.State.Running}}' "$service" 2>&1); then
  echo "k3s: $state" >&2
  echo "k3s: the container $service cannot be seen; use sudo, or run the install line again" >&2
  exit 1
fi

case ${1:-} in
  server | agent)
    case " $* " in
      *' --help '* | *' -h '*) ;;
      *)
        if [ "$state" = true ]; then
          echo "k3s: $service is running, and a machine is one node; stop it first: $engine stop $service" >&2
          exit 1
        fi
        ;;
    esac
    ;;
  ctr)
    # Archives are files of this machine.
    verb='' file='' before=''
    for word; do
      case $verb/$word in
        /import | /export) verb=$word ;;
        import/*) [ ! -f "$word" ] || file=$word ;;
        export/-) file=- ;;
        export/-*) ;;
        export/*) if [ -z "$file" ] && [ "$before" != --platform ]; then file=$word; fi ;;
      esac
      before=$word
    done
    case $verb/$file in
      import/?*) inside=- ;;
      # The engine may cut off what a program still had to say when it ended, so nothing large goes that way.
      export/?*) inside=/tmp/export-$$.tar ;;
    esac
    if [ -n "${inside:-}" ] && [ "$file" != - ]; then
      count=$#
      while [ "$count" -gt 0 ]; do
        if [ "$1" = "$file" ]; then set -- "$@" "$inside"; else set -- "$@" "$1"; fi
        shift
        count=$((count - 1))
      done
      if [ "$verb" = import ]; then exec "$engine" exec -i "$service" k3s "$@" < "$file"; fi
      "$engine" exec "$service" k3s "$@"
      "$engine" cp "$service:$inside" "$file" > /dev/null
      exec "$engine" exec "$service" rm "$inside"
    fi
    ;;
esac

if [ "$state" = true ]; then exec "$engine" exec -i $terminal "$service" k3s "$@"; fi
exec "$engine" run --rm -i $terminal --privileged --network host --uts host --tmpfs /run --tmpfs /var/run \
  --volumes-from "$service" --env-file "$env_file" "$image" "$@"
END
}

# What both scripts that clean up begin with; the arguments are variables that they need.
write_preamble() {
  printf '#!/bin/sh\n%s\n' "$command_mark"
  assign "$@"
  cat << 'END'
set -eu
[ "$(id -u)" -eq 0 ] || exec sudo "$0" "$@"
END
}

# Stops the node and everything it runs, and takes its network off this machine; starting the container brings it back.
write_killall() {
  write_preamble service engine image
  cat << 'END'
echo "Stopping $service"
"$engine" stop "$service" > /dev/null || true
echo "Removing its network interfaces, routes and firewall rules"
# The image has the programs for that. What is not there needs no removing.
# shellcheck disable=SC2016
"$engine" run --rm --privileged --network host --entrypoint /bin/sh "$image" -c '
  for link in cni0 flannel.1 k3ts-svc k3ts-dns; do ip link delete "$link"; done
  ip route flush proto 107
  for table in k3ts k3ts-network; do nft delete table ip "$table"; done
  iptables -w -D FORWARD -j FLANNEL-FWD
  iptables -w -F FLANNEL-FWD
  iptables -w -X FLANNEL-FWD
' 2> /dev/null || true
END
}

write_uninstall() {
  write_preamble service engine image command config_dir data_dir bin_dir tools
  cat << 'END'
"$bin_dir/k3s-killall.sh"
echo "Removing the container $service"
"$engine" rm -fv "$service" > /dev/null || true
if [ -f "$tools/installed" ]; then
  echo "Removing the image $image"
  "$engine" rmi "$image" > /dev/null || true
fi

# Everything in a directory, and the directory; a file system that is mounted there stays, empty.
remove() {
  echo "Removing $1"
  rm -rf "$1" 2> /dev/null || true
}
for name in k3ts kubectl crictl ctr; do
  if [ "$(readlink "$bin_dir/$name" || true)" = k3s ]; then rm -f "$bin_dir/$name"; fi
done
remove "$config_dir"
remove /etc/rancher/node
if [ "$data_dir" = /var/lib/rancher/k3s ]; then
  remove "$data_dir"
else
  # There may be more in a directory that somebody chose.
  for part in server agent storage data; do remove "$data_dir/$part"; done
  rmdir "$data_dir" 2> /dev/null || true
fi
for path in /var/lib/kubelet /var/lib/cni /var/log/pods /var/log/containers; do remove "$path"; done
rmdir /etc/rancher /var/lib/rancher 2> /dev/null || true
rm -f "$bin_dir/k3s" "$bin_dir/k3s-killall.sh" "$bin_dir/$service-uninstall.sh"
if [ "$command" = agent ]; then
  echo "Delete this node from the cluster, too, before it joins again: kubectl delete node $(uname -n | tr '[:upper:]' '[:lower:]')"
fi
END
}

main() {
  default_ifs=$IFS
  check_environment
  words=$(words_of_exec) || fail "INSTALL_K3S_EXEC=\"$INSTALL_K3S_EXEC\" has a quote that is not closed."
  IFS=$newline
  # shellcheck disable=SC2086
  set -- $words "$@"
  IFS=$default_ifs
  case ${1:-} in
    server | agent)
      command=$1
      shift
      ;;
    -* | '')
      command=server
      if [ -n "${K3S_URL:-}" ]; then
        command=agent
        [ -n "${K3S_TOKEN:-}${K3S_TOKEN_FILE:-}" ] || fail "K3S_URL is set, which makes this machine an agent: set K3S_TOKEN or K3S_TOKEN_FILE, too."
      fi
      ;;
    *) fail "\"$1\" is not a command that a node runs: give server or agent." ;;
  esac
  service=k3s
  [ "$command" = server ] || service=k3s-agent
  [ -z "${INSTALL_K3S_NAME:-}" ] || service=k3s-$INSTALL_K3S_NAME
  printf '%s' "$service" | grep -qE '^[A-Za-z0-9][A-Za-z0-9_.-]*$' || fail "INSTALL_K3S_NAME=\"$INSTALL_K3S_NAME\" may have letters, digits and _.- only."
  env_file=$config_dir/$service.env
  for word; do
    case $word in -t | --token | --token=* | --agent-token | --agent-token=*) warn "A token among the arguments is seen by everybody on this machine; set K3S_TOKEN instead." ;; esac
  done

  environment=$(node_environment)

  find_root
  find_engine
  find_bin_dir
  check_others
  choose_options "$@"
  find_image
  check_image
  make_directories
  printf '%s\n' "$environment" | write_file "$env_file" 600
  write_commands
  make_container "$@"
  check_boot
  start_container
  [ -z "$changed" ] || say "Done. $(finish)"
}

finish() {
  if is_true INSTALL_K3S_BIN_DIR_READ_ONLY; then return 0; fi
  if [ "$command" = server ]; then
    printf 'Try "%s kubectl get node"; an agent joins with the token in %s/server/node-token.' "${sudo:+sudo $bin_dir/}k3s" "$data_dir"
  else
    printf 'The server lists this node now.'
  fi
  printf ' Remove everything with %s.' "$uninstall"
}

main "$@"
