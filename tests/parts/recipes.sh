# shellcheck shell=bash
# The part "recipes": what creates a cluster and installs the agent on it, and what stands in for AWS meanwhile.
# Sourced by install.sh, which provides HERE, listed and apt_install.
#
# Contents:
#   python/     awscli, boto3, moto, cfn-lint, python-hcl2
#   bin/        aws

install_recipes() {
    local directory="$1" packages
    mapfile -t packages < <(listed recipes install)
    apt_install "${packages[@]}"
    /usr/bin/python3 -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary=:all: \
        --root-user-action=ignore --target "$directory/python" -r "$HERE/recipes-requirements.txt" >&2
    mkdir "$directory/bin"
    printf '#!/bin/sh\nexec /usr/bin/python3 -m awscli "$@"\n' >"$directory/bin/aws"
    chmod 755 "$directory/bin/aws"
}
