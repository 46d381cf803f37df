# shellcheck shell=bash
# The part "node": a Debian root with systemd, laid out like an EMR node during bootstrap, and the tools to boot it.
# Sourced by install.sh, which provides listed, apt_install and debian_root.
#
# Contents:
#   root/       bash, coreutils, tar, curl, sudo, the AWS CLI, moto; user hadoop with sudo; no Hadoop, no Docker

install_node() {
    local directory="$1" packages
    mapfile -t packages < <(listed node install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed node include)
    debian_root "$directory/root" "${packages[@]}"
    python3 -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary=:all: \
        --python-version 3.11 --implementation cp --platform manylinux2014_x86_64 \
        --target "$directory/root/usr/local/lib/python3.11/dist-packages" -r "$HERE/node-requirements.txt" >&2
    printf '#!/bin/sh\nexec python3 -m awscli "$@"\n' >"$directory/root/usr/bin/aws"
    chmod 755 "$directory/root/usr/bin/aws"
    name_host "$directory/root"
    make_users "$directory/root"
}

name_host() {
    echo emr-node >"$1/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 emr-node\n' >"$1/etc/hosts"
}

# EMR's images already have user hadoop, with sudo; the users of Hadoop's services come with Hadoop.
make_users() {
    chroot "$1" useradd --create-home --user-group --shell /bin/bash hadoop
    echo 'hadoop ALL=(ALL) NOPASSWD: ALL' >"$1/etc/sudoers.d/hadoop"
    chmod 440 "$1/etc/sudoers.d/hadoop"
}
