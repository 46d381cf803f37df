# shellcheck shell=bash
# The part "bench": the tools the agent is compared with. Sourced by install.sh, which provides listed, apt_install
# and apt_unpack.
#
# Contents:
#   bin/aws     the AWS CLI
#   bin/hdfs    an HDFS client in Go

install_bench() {
    local directory="$1" packages
    mapfile -t packages < <(listed bench install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed bench unpack)
    apt_unpack "$directory/debian" "${packages[@]}"
    mkdir "$directory/bin"
    mv "$directory/debian/usr/bin/hdfs" "$directory/bin/"
    rm -rf "$directory/debian"

    /usr/bin/python3 -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary=:all: \
        --target "$directory/python" -r "$HERE/bench-requirements.txt" >&2
    # Precompiled, as a package manager would install it.
    /usr/bin/python3 -m compileall -q "$directory/python" >/dev/null
    printf '#!/bin/sh\nPYTHONPATH=%q exec /usr/bin/python3 -m awscli "$@"\n' "$directory/python" >"$directory/bin/aws"
    chmod 755 "$directory/bin/aws"
    "$directory/bin/aws" --version >/dev/null
}
