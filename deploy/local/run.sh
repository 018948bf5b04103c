#!/usr/bin/env bash
# Builds the registry and runs it on this machine with an embedded database and a directory.
#
#   PORT=8080           where it listens, on 127.0.0.1
#   DATA=./data         where it keeps its database, its blobs and the config.yaml written here
#   ORGANIZATIONS=…     the organizations file; default: organizations.yaml beside this script
#   ADMIN_PORT=0        where probes and metrics listen, on 127.0.0.1; 0: a free port, which is logged
#   PROFILE=release     the cargo profile; dev builds faster
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

port=${PORT:-8080}
admin_port=${ADMIN_PORT:-0}
profile=${PROFILE:-release}
data=${DATA:-./data}
organizations=${ORGANIZATIONS:-$here/organizations.yaml}

for number in "$port" "$admin_port"; do
  if [[ ! $number =~ ^[0-9]{1,5}$ ]]; then
    echo "run.sh: a port must be a number, not '$number'" >&2
    exit 2
  fi
done
if [[ ! -f $organizations ]]; then
  echo "run.sh: there is no organizations file $organizations" >&2
  exit 2
fi

mkdir -p -- "$data"
data=$(cd "$data" && pwd)
organizations=$(cd "$(dirname "$organizations")" && pwd)/$(basename "$organizations")

# A path becomes part of a double-quoted YAML text.
quoted() {
  local text=${1//\\/\\\\}
  printf '%s' "${text//\"/\\\"}"
}

config=$(<"$here/config.yaml")
config=${config//@ADDRESS@/"127.0.0.1:$port"}
config=${config//@ADMIN_ADDRESS@/"127.0.0.1:$admin_port"}
config=${config//@ORGANIZATIONS@/"$(quoted "$organizations")"}
config=${config//@DATA@/"$(quoted "$data")"}
(umask 077 && printf '%s\n' "$config" >"$data/config.yaml")

# From the repository's root, so that its toolchain file counts wherever the script was called.
(cd "$root" && cargo build --profile "$profile" --package quayside-registry --bin quayside-registry)

# cargo names the directory of the dev profile differently from the profile.
directory=$profile
if [[ $profile == dev || $profile == test ]]; then
  directory=debug
fi
target=${CARGO_TARGET_DIR:-target}
if [[ $target != /* ]]; then
  target=$root/$target
fi

cat <<EOF

  Quayside listens on 127.0.0.1:$port and keeps its data in $data.
  In another terminal:

    podman pull --tls-verify=false 127.0.0.1:$port/docker/library/alpine:3

EOF
exec "$target/$directory/quayside-registry" serve --config "$data/config.yaml"
