#!/usr/bin/env bash
# `make mutants`: mutates hadoop-rules with cargo-mutants and counts the mutants that its tests miss. Exits with 1 if
# more than 3 % survive, or if `survivors` does not explain one of them. Arguments go to cargo-mutants: `--iterate`
# tries only the survivors of the last run.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$PWD/target/mutants.out

# The tests need 1 s and 200 MB. Limits catch a mutant that makes them need much more; unlike a deadline, they do not
# depend on other load on the machine.
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
export "CARGO_TARGET_${host}_RUNNER=prlimit --cpu=15 --as=4294967296"
export CARGO_PROFILE_TEST_DEBUG=0 PROPTEST_CASES=32

# Skip documentation tests and examples: each builds its own program.
cargo mutants --no-shuffle --colors never --package hadoop-rules --jobs 2 --output target --timeout 600 \
  --cargo-test-arg=--lib "$@" || (($? == 2 || $? == 3))

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
# The counts above lack what --iterate skips.
if [[ ! -e $out/previously_caught.txt ]] && ((missed * 100 > tried * 3)); then
  echo "mutants: more than 3 % survived" >&2
  exit 1
fi
