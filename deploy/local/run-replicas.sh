#!/usr/bin/env bash
# Runs several replicas of the registry on this machine: PostgreSQL, an S3 server, and a plain TCP
# balancer before them. They serve whatever the file of organizations says, as `make run` does.
#
#   PORT=8080               where the balancer listens, on 127.0.0.1
#   REPLICAS=2              how many
#   DATA=./data-replicas    where everything is kept between runs
#   ORGANIZATIONS=…         the organizations file; default: organizations.yaml beside this script
#   PROFILE=release         the cargo profile; dev builds faster
#
# PostgreSQL comes from Debian's package, the S3 server from tests/tools/install.sh.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

profile=${PROFILE:-release}
data=${DATA:-./data-replicas}
organizations=${ORGANIZATIONS:-$here/organizations.yaml}

for number in "${PORT:-8080}" "${REPLICAS:-2}"; do
  if [[ ! $number =~ ^[0-9]{1,5}$ ]]; then
    echo "run-replicas.sh: a number is needed, not '$number'" >&2
    exit 2
  fi
done
if [[ ! -f $organizations ]]; then
  echo "run-replicas.sh: there is no organizations file $organizations" >&2
  exit 2
fi

mkdir -p -- "$data"
data=$(cd "$data" && pwd)
organizations=$(cd "$(dirname "$organizations")" && pwd)/$(basename "$organizations")

# From the repository's root, so that its toolchain file counts wherever the script was called.
(cd "$root" &&
  cargo build --profile "$profile" --package quayside-registry --bin quayside-registry &&
  cargo build --profile dev --package quayside-test-servers --bin run-replicas)

# cargo names the directory of the dev profile differently from the profile.
directory=$profile
if [[ $profile == dev || $profile == test ]]; then
  directory=debug
fi
target=${CARGO_TARGET_DIR:-target}
if [[ $target != /* ]]; then
  target=$root/$target
fi

export DATA=$data ORGANIZATIONS=$organizations REGISTRY=$target/$directory/quayside-registry
exec "$target/debug/run-replicas"
