# shellcheck shell=bash
# The part "lint": shellcheck, unpacked from Debian.
# Sourced by install.sh, which gives it listed, apt_unpack and say.

install_lint() {
    local folder="$1" packages
    mapfile -t packages < <(listed lint unpack)
    apt_unpack "$folder/debian" "${packages[@]}"
    mkdir "$folder/bin"
    mv "$folder/debian/usr/bin/shellcheck" "$folder/bin/"
    rm -rf "$folder/debian"
    "$folder/bin/shellcheck" --version >/dev/null
}
