# A Debian of its own for the tests of the packages: sourced by in-chroot and in-systemd, which set `program_deb` first.
#
# It is made by debootstrap from the mirrors of this machine's apt sources, with what the package depends on, and kept in
# build/packages-chroot; each run begins with a copy. What cannot be had here skips the test.
top=$PWD
cache=$top/build/packages-chroot
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
work=$(mktemp -d "${TMPDIR:-/tmp}/skerry-chroot-XXXXXX")
root=$work/root
skip() { echo "skipped: $*"; exit 77; }
say() { echo "== $*"; }
is_there() { [ -e "$root$1" ] || fail "$1 is not there"; }
is_gone() { [ ! -e "$root$1" ] || fail "$1 is still there"; }

# Everything in the chroot runs in namespaces of its own, so nothing stays mounted and no process is left behind.
in_root() { # COMMAND...
  unshare --mount --pid --fork --kill-child bash -euc '
    root=$1; shift
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
      ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} "$@"' in_root "$root" "$@"
}

make_base() {
  local mirrors first
  # URI and suite of this release's archives, first the one that debootstrap takes.
  mirrors=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v name="$codename" '$2 == name || $2 == name "-updates" || $2 == name "-security" { print $3, $2 }' | sort -u)
  first=$(awk -v name="$codename" '$2 == name { print $1; exit }' <<<"$mirrors")
  [ -n "$first" ] || skip "this machine's apt sources have nothing of Debian ${codename:-?}"
  say "a Debian $codename by debootstrap (once, some minutes)"
  debootstrap --variant=minbase "$codename" "$root" "$first" >"$cache/debootstrap.log" 2>&1 ||
    skip "debootstrap could not make it here: $(tail -1 "$cache/debootstrap.log") ($cache/debootstrap.log)"
  awk '{ print "deb", $1, $2, "main" }' <<<"$mirrors" >"$root/etc/apt/sources.list"
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  { apt-config dump | grep -E '^Acquire::(http|https)' || true; } >"$root/etc/apt/apt.conf.d/90machine"
  cp "$program_deb" "$root/skerry.deb"
  # What it depends on, and not the package itself.
  in_root sh -c 'apt-get update; apt-get install -y --no-install-recommends $(dpkg-deb -f /skerry.deb Depends | sed "s/, */ /g; s/([^)]*)//g")' \
    >"$cache/depends.log" 2>&1 || skip "the dependencies cannot be installed: $(tail -1 "$cache/depends.log") ($cache/depends.log)"
  rm -f "$root/skerry.deb" "$root"/var/cache/apt/archives/*.deb
  keep_base "$1"
}

keep_base() { # TAR
  tar -C "$root" --one-file-system -cf "$1.new" .
  mv "$1.new" "$1"
}

# Fills `root` with the Debian and, beside it, the packages that are named.
unpack_debian() { # PACKAGE...
  local base with
  mkdir -p "$cache" "$root"
  unshare --mount --pid --fork true 2>/dev/null || skip "namespaces are not allowed here"
  # Two tests make it at once, or one after the other.
  exec {lock}>"$cache/lock"
  flock "$lock"
  base=$cache/$codename-$(dpkg-deb -f "$program_deb" Depends | sha256sum | cut -c 1-16).tar
  with=${base%.tar}${1:+-$1}.tar
  if [ ! -s "$base" ]; then
    find "$cache" -name '*.tar' -delete
    make_base "$base"
  elif [ ! -s "$with" ] || [ $# = 0 ]; then
    tar -C "$root" -xf "$base"
  else
    tar -C "$root" -xf "$with"
  fi
  if [ $# -gt 0 ] && [ ! -s "$with" ]; then
    say "with $* (once)"
    in_root sh -c 'apt-get update; apt-get install -y --no-install-recommends "$@"' sh "$@" >"$cache/$1.log" 2>&1 ||
      skip "$* cannot be installed: $(tail -1 "$cache/$1.log") ($cache/$1.log)"
    rm -f "$root"/var/cache/apt/archives/*.deb
    keep_base "$with"
  fi
  exec {lock}>&-
}

