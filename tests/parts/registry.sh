# shellcheck shell=bash
# The part "registry": Debian's docker-registry, and skopeo as an independent client of it.
# Sourced by install.sh, which provides listed, apt_install, apt_unpack and say.

install_registry() {
    local directory="$1" packages
    mapfile -t packages < <(listed registry install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed registry unpack)
    apt_unpack "$directory/debian" "${packages[@]}"

    mkdir "$directory/bin"
    mv "$directory/debian/usr/bin/docker-registry" "$directory/debian/usr/bin/skopeo" "$directory/bin/"
    rm -rf "$directory/debian"
    "$directory/bin/docker-registry" --version >/dev/null
    "$directory/bin/skopeo" --version >/dev/null
}
