#!/usr/bin/env bash
# Fails if a rule in tests/rules/asked.txt is named by no test.
#
#   tests/rules/check.sh [ROOT]     ROOT: the tree to look at; default: this one
#
# A test names a rule in the comment directly above it (`/// M6, Q5: ...`). A test is a function with
# an attribute that ends in `test` (`#[test]`, `#[tokio::test(...)]`), or, because a suite that several
# backends share has no attributes, a commented function in a test file: under crates/*/tests or
# tests/e2e, or tests.rs and files below tests/ in a crate's src.
set -euo pipefail

root=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
cd "$root"

# Prints the comment above each test, one a line.
comments_of_tests() {
  find crates tests -name '*.rs' -not -path '*/target/*' -print0 | sort -z | xargs -0 -r awk '
    FNR == 1 {
      comment = ""; attribute = 0
      suite = FILENAME ~ /^crates\/[^\/]+\/tests\// || FILENAME ~ /^tests\/e2e\// ||
        FILENAME ~ /^crates\/[^\/]+\/src\/(.*\/)?tests(\.rs$|\/)/
    }
    /^[ \t]*\/\/\/?[^\/!]/ { sub(/^[ \t]*\/\/+/, ""); comment = comment " " $0; next }
    /^[ \t]*#\[/ { if ($0 ~ /^[ \t]*#\[([a-z_]+::)*test[\](]/) attribute = 1; next }
    /^[ \t]*((pub(\([a-z]+\))?|async|const) )*fn / {
      if (comment != "" && (attribute || suite)) {
        print comment
      }
    }
    { comment = ""; attribute = 0 }
  '
}

named=$(comments_of_tests)
asked=0
missing=()
unknown=()
while read -r rule; do
  [[ -z $rule || $rule == \#* ]] && continue
  asked=$((asked + 1))
  grep -qwF -- "$rule" docs/spec.md || unknown+=("$rule")
  grep -qwF -- "$rule" <<<"$named" || missing+=("$rule")
done <tests/rules/asked.txt

if [ "$asked" -eq 0 ]; then
  echo "rules: tests/rules/asked.txt names no rule" >&2
  exit 1
fi
if [ ${#unknown[@]} -gt 0 ]; then
  echo "rules: not in docs/spec.md: ${unknown[*]}" >&2
  exit 1
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "rules: named by no test: ${missing[*]}" >&2
  exit 1
fi
echo "rules: $asked rules asked for, each named by a test ($(wc -l <<<"$named") tests have a comment)"
