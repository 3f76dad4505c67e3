# What the scripts here share: the mirror, roots and a shell inside one. Sourced by bash with `set -euo pipefail`.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
roots=${MLKIT_ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/mlkit/roots}

again() { "$@" || { echo "once more: $*" >&2; sleep 20; "$@"; }; }  # registries hiccup

mirror() {  # the mirror that this machine's apt uses for Debian itself
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | sort -u | head -1
}

root() {  # root SUITE: a tarball of a minimal system with build-essential, made if there is none; prints its path
  local tarball=$roots/$1-buildd.tar
  if [ ! -e "$tarball" ]; then
    mkdir -p "$roots"
    again mmdebstrap --mode=root --variant=buildd --format=tar --components=main --keyring=/usr/share/keyrings \
      --skip=cleanup/apt/lists --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
      "$1" "$tarball.part" "$(mirror)" >"$tarball.log" 2>&1 || { tail "$tarball.log" >&2; return 1; }
    mv "$tarball.part" "$tarball"
  fi
  echo "$tarball"
}

unpack() {  # unpack TARBALL DIRECTORY: a root that reaches the network and starts no services
  mkdir -p "$2"
  tar -C "$2" -xf "$1"
  cp -L /etc/resolv.conf /etc/hosts "$2/etc/"
  apt-config dump Acquire | grep -v IndexTargets >"$2/etc/apt/apt.conf.d/99host"  # proxies, retries
  printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
  chmod +x "$2/usr/sbin/policy-rc.d"
}

inside() {  # inside ROOT COMMAND...: in namespaces of its own, so that nothing is left to unmount or to kill
  local directory=$1
  shift
  unshare --mount --pid --fork --kill-child -- sh -ec '
    root=$1; shift
    mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t sysfs sys "$root/sys"
    exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
  ' sh "$directory" "$@"
}
