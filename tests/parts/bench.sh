# shellcheck shell=bash
# The part "bench": what the agent is measured against. Sourced by install.sh, which gives it listed, apt_install
# and apt_unpack.
#
# What lies in the folder afterwards:
#   bin/aws     the AWS CLI
#   bin/hdfs    the HDFS client in Go

install_bench() {
    local folder="$1" packages
    mapfile -t packages < <(listed bench install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed bench unpack)
    apt_unpack "$folder/debian" "${packages[@]}"
    mkdir "$folder/bin"
    mv "$folder/debian/usr/bin/hdfs" "$folder/bin/"
    rm -rf "$folder/debian"

    /usr/bin/python3 -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary=:all: \
        --target "$folder/python" -r "$HERE/bench-requirements.txt" >&2
    # Compiled beforehand, as a package manager leaves it.
    /usr/bin/python3 -m compileall -q "$folder/python" >/dev/null
    printf '#!/bin/sh\nPYTHONPATH=%q exec /usr/bin/python3 -m awscli "$@"\n' "$folder/python" >"$folder/bin/aws"
    chmod 755 "$folder/bin/aws"
    "$folder/bin/aws" --version >/dev/null
}
