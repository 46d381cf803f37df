# shellcheck shell=bash
# The part "lint": shellcheck, unpacked from Debian.
# Sourced by install.sh, which provides listed, apt_unpack and say.

install_lint() {
    local directory="$1" packages
    mapfile -t packages < <(listed lint unpack)
    apt_unpack "$directory/debian" "${packages[@]}"
    mkdir "$directory/bin"
    mv "$directory/debian/usr/bin/shellcheck" "$directory/bin/"
    rm -rf "$directory/debian"
    "$directory/bin/shellcheck" --version >/dev/null
}
