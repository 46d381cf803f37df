# shellcheck shell=bash
# The part "registry": Debian's docker-registry, and skopeo as an independent client of it.
# Sourced by install.sh, which gives it listed, apt_install, apt_unpack and say.

install_registry() {
    local folder="$1" packages
    mapfile -t packages < <(listed registry install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed registry unpack)
    apt_unpack "$folder/debian" "${packages[@]}"

    mkdir "$folder/bin"
    mv "$folder/debian/usr/bin/docker-registry" "$folder/debian/usr/bin/skopeo" "$folder/bin/"
    rm -rf "$folder/debian"
    "$folder/bin/docker-registry" --version >/dev/null
    "$folder/bin/skopeo" --version >/dev/null
}
