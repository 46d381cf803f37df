#!/usr/bin/env bash
# `make mutants`: changes hadoop-rules in one place at a time, as cargo-mutants does, and counts the changes that its tests
# do not notice. Exits with 1 if those are more than 3 %, or if one of them is not in `survivors`, with its reason.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$PWD/target/mutants.out

# Documentation tests and examples are left out: they build a program each.
CARGO_PROFILE_TEST_DEBUG=0 cargo mutants --quiet --no-shuffle --colors never --package hadoop-rules --jobs 2 --output target \
  --cargo-test-arg=--lib || (($? == 2 || $? == 3))

count() { wc -l <"$out/$1.txt"; }
missed=$(count missed)
tried=$(($(count caught) + $(count timeout) + missed))
echo "mutants: $tried tried, $(count caught) caught, $(count timeout) did not end, $missed survived;" \
  "$(count unviable) more do not compile"

# Lines and columns change with every edit.
unexplained=$(sed 's/:[0-9]*:[0-9]*:/:/' "$out/missed.txt" | grep --invert-match --line-regexp --fixed-strings \
  --file <(grep --invert-match '^#' tests/mutants/survivors) || true)
if [[ -n $unexplained ]]; then
  printf 'mutants: tests/mutants/survivors has no reason for:\n%s\n' "$unexplained" >&2
  exit 1
fi
if ((missed * 100 > tried * 3)); then
  echo "mutants: more than 3 % survived" >&2
  exit 1
fi
