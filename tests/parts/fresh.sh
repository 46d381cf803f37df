# shellcheck shell=bash
# The part "fresh": a bare Debian root, of which `make fresh-test` makes its machines. Sourced by install.sh, which
# gives it listed, apt_install and debian_root.
#
# What lies in the folder afterwards:
#   root/       apt, CA certificates, git, make, pip, and the C compiler that Rust links with

install_fresh() {
    local folder="$1" packages
    mapfile -t packages < <(listed fresh install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed fresh include)
    debian_root "$folder/root" "${packages[@]}"
}
