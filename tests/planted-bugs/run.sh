#!/usr/bin/env bash
# `make planted-bugs`: applies each patch in this directory to a copy of the tree, one at a time, and reports what
# finds the bug: the model check, else the simulation, else the torture. Unit tests do not count. Exits with 1 if a
# patch no longer applies or nothing finds its bug.
# ONLY="name name" selects patches.
set -euo pipefail
cd "$(dirname "$0")/../.."
patches=$PWD/tests/planted-bugs
tree=$PWD/target/planted-bugs/tree
export CARGO_TARGET_DIR=$PWD/target/planted-bugs/build
log=$PWD/target/planted-bugs/log
# Longer than any search or simulation takes, even on busy cores.
limit=900

mkdir -p "$log"
rm -rf "$tree"
mkdir -p "$tree"
git ls-files -z | tar --null --files-from - --create | tar --extract --directory "$tree"
cd "$tree"

build() { # program
  cargo build --quiet --profile simulation --workspace --bin "$1"
}

run() { # log file, program, arguments: fails if the program does
  local to=$1
  shift
  timeout "$limit" "$@" >"$to" 2>&1
}

# Prints what finds the bug in the tree, or nothing.
found_by() { # name
  local to=$log/$1
  build model || { echo "does not compile"; return; }
  local model=$CARGO_TARGET_DIR/simulation/model
  local size
  for size in --small ""; do
    # shellcheck disable=SC2086 # no argument, not an empty one
    run "$to.model" "$model" $size && continue
    sed --quiet 's/^model: not so: \(.*\), after .*/1 model check: \1/p; s/^model: \(it never happened .*\)/2 model check: \1/p' \
      "$to.model" | sort | head -n 1 | cut -c 3-
    return
  done
  build simulate || { echo "does not compile"; return; }
  if ! run "$to.simulation" "$CARGO_TARGET_DIR/simulation/simulate" --nodes 1,30 --days 4 --seed 7; then
    echo "simulation: $(sed --quiet 's/^simulate: [0-9]* nodes: //p' "$to.simulation" | head -n 1)"
    return
  fi
  cargo build --quiet --profile simulation --workspace --bins || { echo "does not compile"; return; }
  if ! TORTURE_SECONDS=60 run "$to.torture" "$CARGO_TARGET_DIR/simulation/torture"; then
    echo "torture: $(sed --quiet 's/^torture: //p' "$to.torture" | tail -n 1)"
  fi
}

failed=0
build model
if ! run "$log/unchanged.model" "$CARGO_TARGET_DIR/simulation/model"; then
  echo "planted-bugs: the model check fails without any bug: $log/unchanged.model" >&2
  exit 1
fi

echo "| bug | found by |"
echo "| --- | --- |"
for patch in "$patches"/*.patch; do
  name=$(basename "$patch" .patch)
  [[ -z ${ONLY:-} || " $ONLY " == *" $name "* ]] || continue
  if ! patch --quiet --strip 1 --fuzz 0 --dry-run <"$patch" >"$log/$name.patch"; then
    echo "planted-bugs: $name no longer applies" >&2
    failed=1
    continue
  fi
  patch --quiet --strip 1 <"$patch"
  found=$(found_by "$name")
  patch --quiet --strip 1 --reverse <"$patch"
  echo "| $name | ${found:-nothing} |"
  [[ $found =~ ^(model\ check|simulation|torture):\  ]] || failed=1
done
exit "$failed"
