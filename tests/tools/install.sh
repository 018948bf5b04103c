#!/usr/bin/env bash
# Installs what the tests drive: real clients and real upstream registries.
# Debian's packages come from apt; the rest is built by Go at pinned versions,
# once, into ${QUAYSIDE_CACHE:-~/.cache/quayside}/bin. Prints what it does.
#
#   tests/tools/install.sh          what `make test` needs
#   tests/tools/install.sh long     also what `make long` needs
set -euo pipefail

cache="${QUAYSIDE_CACHE:-$HOME/.cache/quayside}"
bin="$cache/bin"
mkdir -p "$bin"

packages=(podman skopeo containerd runc conmon containernetworking-plugins
  docker-registry busybox-static apache2-utils iproute2 ca-certificates)

say() { printf 'tools: %s\n' "$*"; }

install_packages() {
  local missing=() p
  for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing Debian packages: ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
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

install_packages
go_tool registry github.com/distribution/distribution/v3/cmd/registry v3.1.2 distribution
go_tool crane github.com/google/go-containerregistry/cmd/crane v0.22.1
mkdir -p "$bin/containerd2"
for tool in containerd ctr containerd-shim-runc-v2; do
  go_tool "$tool" "github.com/containerd/containerd/v2/cmd/$tool" v2.4.2 "containerd2/$tool"
done
conformance
if [ "${1:-}" = long ]; then
  go_tool oras oras.land/oras/cmd/oras v1.3.6
  go_tool cosign github.com/sigstore/cosign/v3/cmd/cosign v3.1.3
fi
say "ready in $bin"
