#!/usr/bin/env bash
# Proves that check.sh fails when it should: on small trees made here, with one thing wrong in each.
set -euo pipefail

check=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/check.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

# A tree in which X1 and X2 are named by tests, in both ways that count.
plant() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree/crates/a/src" "$tree/crates/a/tests" "$tree/tests/rules" "$tree/tests/src" "$tree/docs"
  printf '%s\n' '- X1 one' '- X2 two. X3 three' '- X12 twelve' >"$tree/docs/spec.md"
  printf '%s\n' '# comment' X1 X2 >"$tree/tests/rules/asked.txt"
  printf '%s\n' '/// X1: works.' '#[tokio::test(flavor = "current_thread")]' 'async fn works() {}' \
    >"$tree/crates/a/src/lib.rs"
  printf '%s\n' '/// X2, for every backend.' 'pub async fn holds<B: Backend>() {}' >"$tree/crates/a/tests/suite.rs"
}

expect() { # expect <pass|fail> <what is wrong with the tree>
  local verdict=fail
  "$check" "$tree" >/dev/null 2>&1 && verdict=pass
  [ "$verdict" = "$1" ] && return
  echo "rules: check.sh should $1 when $2" >&2
  exit 1
}

plant
expect pass "every rule is named by a test"
plant && echo X3 >>"$tree/tests/rules/asked.txt"
expect fail "a rule is named by no test"
plant && echo X12 >>"$tree/tests/rules/asked.txt"
expect fail "only a rule whose number begins alike is named"
plant && echo X9 >>"$tree/tests/rules/asked.txt" && echo '/// X9' | cat - "$tree/crates/a/src/lib.rs" >"$tree/x" &&
  mv "$tree/x" "$tree/crates/a/src/lib.rs"
expect fail "a rule is not in the specification"
plant && sed -i '/tokio::test/d' "$tree/crates/a/src/lib.rs"
expect fail "a rule is named above a function that is no test"
plant && mv "$tree/crates/a/tests/suite.rs" "$tree/tests/src/suite.rs"
expect fail "a rule is named in code that only supports tests"
plant && sed -i '1a fn other() {}' "$tree/crates/a/src/lib.rs"
expect fail "the comment belongs to another function"
plant && : >"$tree/tests/rules/asked.txt"
expect fail "no rule is asked for"
echo "rules: the check fails when it should"
