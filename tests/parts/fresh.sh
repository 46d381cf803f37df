# shellcheck shell=bash
# The part "fresh": a bare Debian root that `make fresh-test` copies for each machine. Sourced by install.sh, which
# provides listed, apt_install and debian_root.
#
# Contents:
#   root/       apt, CA certificates, git, make, pip, and the C compiler Rust links with

install_fresh() {
    local directory="$1" packages
    mapfile -t packages < <(listed fresh install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed fresh include)
    debian_root "$directory/root" "${packages[@]}"
}
