#!/usr/bin/env bash
# Installs what `make test` needs: a test runner, a checker of dependencies, real clients and real
# upstream registries. Debian's packages come from apt; the rest is built by Go and Cargo at pinned
# versions, once, into ${QUAYSIDE_CACHE:-~/.cache/quayside}. Prints what it does.
#
#   tests/tools/install.sh          what `make test` needs
#   tests/tools/install.sh long     also what `make long` needs
#   tests/tools/install.sh bench    what `make bench` needs instead
#   tests/tools/install.sh replicas what `make run-replicas` needs instead
set -euo pipefail

cache="${QUAYSIDE_CACHE:-$HOME/.cache/quayside}"
bin="$cache/bin"
mkdir -p "$bin"

# Two runs at once would build everything twice and write the same files.
exec 9>"$cache/install.lock"
flock 9

packages=(podman skopeo containerd runc conmon containernetworking-plugins
  docker-registry busybox-static apache2-utils iproute2 iptables ca-certificates postgresql)
long_packages=(ceph-mon ceph-osd radosgw ceph-common)
replica_packages=(postgresql ca-certificates)
bench_packages=(nginx-light varnish docker-registry iproute2 ca-certificates)

say() { printf 'tools: %s\n' "$*"; }

install_packages() {
  local missing=() p
  for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" -ne 0 ]; then
    say "these Debian packages are missing, install them as root: ${missing[*]}" >&2
    exit 1
  fi
  say "installing Debian packages: ${missing[*]}"
  apt-get update -qq
  without_services
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Debian starts what it installs, on ports that others may want, unless this file says no.
without_services() {
  local policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] && return
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
}

# go_tool <binary> <package> <version> [<name in the cache>]
go_tool() {
  local built="$1" package="$2" version="$3" name="${4:-$1}"
  local stamp="$bin/.${name//\//-}-$version"
  [ -x "$bin/$name" ] && [ -e "$stamp" ] && return
  say "building $name $version"
  local out
  out=$(mktemp -d "$cache/build.XXXXXX")
  CGO_ENABLED=0 GOBIN="$out" GOFLAGS=-trimpath go install -ldflags "-s -w" "$package@$version"
  rm -f "$bin/.${name//\//-}-v"*
  mv "$out/$built" "$bin/$name"
  rm -rf "$out"
  touch "$stamp"
}

# cargo_tool <package> <version> [<argument of cargo install>...]
cargo_tool() {
  local package="$1" version="$2"
  shift 2
  [ -e "$cache/cargo/.$package-$version" ] && [ -x "$cache/cargo/bin/$package" ] && return
  say "building $package $version"
  local build
  build=$(mktemp -d "$cache/build.XXXXXX")
  # These run for seconds; an optimiser that runs for minutes is no gain.
  CARGO_TARGET_DIR="$build" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    cargo install --locked --quiet --force --root "$cache/cargo" "$@" "$package@$version"
  rm -rf "$build"
  rm -f "$cache/cargo/.$package-"*
  touch "$cache/cargo/.$package-$version"
}

# The conformance suite is a program in a subfolder of the specification's module.
conformance() {
  local version=v0.0.0-20260831232431-97274622c111
  local stamp="$bin/.conformance-$version"
  [ -x "$bin/conformance" ] && [ -e "$stamp" ] && return
  say "building the OCI conformance suite $version"
  local module
  module=$(mktemp -d "$cache/build.XXXXXX")
  (
    cd "$module"
    printf 'module conformance\n\ngo 1.26\n' >go.mod
    go get -d "github.com/opencontainers/distribution-spec/conformance@$version" 2>/dev/null ||
      go get "github.com/opencontainers/distribution-spec/conformance@$version"
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$bin/conformance" \
      github.com/opencontainers/distribution-spec/conformance
  )
  rm -rf "$module"
  rm -f "$bin/.conformance-"*
  touch "$stamp"
}

# The library of present-day podman, behind a few lines of our own; versions are pinned in its go.mod.
image_copy() {
  local source stamp
  source="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/image-copy"
  stamp="$bin/.image-copy-$(cat "$source"/* | sha256sum | cut -c1-16)"
  [ -x "$bin/image-copy" ] && [ -e "$stamp" ] && return
  say "building image-copy"
  (
    cd "$source"
    CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o "$bin/image-copy" \
      -tags containers_image_openpgp,containers_image_storage_stub,containers_image_docker_daemon_stub .
  )
  rm -f "$bin/.image-copy-"*
  touch "$stamp"
}

distribution() {
  go_tool registry github.com/distribution/distribution/v3/cmd/registry v3.1.2 distribution
}

versitygw() {
  go_tool versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0
}

if [ "${1:-}" = bench ]; then
  packages=("${bench_packages[@]}")
  install_packages
  distribution
  say "ready in $bin"
  exit
fi

if [ "${1:-}" = replicas ]; then
  packages=("${replica_packages[@]}")
  install_packages
  versitygw
  say "ready in $bin"
  exit
fi

[ "${1:-}" = long ] && packages+=("${long_packages[@]}")
install_packages
cargo_tool cargo-nextest 0.9.151 --no-default-features --features default-no-update
cargo_tool cargo-deny 0.20.2
distribution
versitygw
go_tool crane github.com/google/go-containerregistry/cmd/crane v0.22.1
go_tool helm helm.sh/helm/v3/cmd/helm v3.22.0
mkdir -p "$bin/containerd2"
for tool in containerd ctr containerd-shim-runc-v2; do
  go_tool "$tool" "github.com/containerd/containerd/v2/cmd/$tool" v2.4.2 "containerd2/$tool"
done
conformance
image_copy
if [ "${1:-}" = long ]; then
  go_tool oras oras.land/oras/cmd/oras v1.3.6
  go_tool cosign github.com/sigstore/cosign/v3/cmd/cosign v3.1.3
fi
say "ready in $bin"
