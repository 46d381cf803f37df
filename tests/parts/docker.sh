# shellcheck shell=bash
# The part "docker": Debian's Docker engine, unpacked rather than installed, so that no service starts on this machine;
# and the layer of a small image.
# Sourced by install.sh, which provides listed, apt_install, apt_unpack and say.
#
# Contents:
#   usr/          docker, dockerd, containerd, runc and tini; a node of the tests mounts it over its own /usr
#   image.tar     bash, coreutils, findutils and their libraries: enough for what YARN runs in a container

install_docker() {
    local directory="$1" packages image="$1/image"
    mapfile -t packages < <(listed docker install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed docker unpack)
    apt_unpack "$directory/debian" "${packages[@]}"
    mkdir -p "$directory/usr/bin" "$directory/usr/sbin"
    mv "$directory"/debian/usr/bin/{docker,containerd,containerd-shim-runc-v2,tini} "$directory/usr/bin/"
    mv "$directory"/debian/usr/sbin/{dockerd,runc} "$directory/usr/sbin/"
    rm -rf "$directory/debian"
    "$directory/usr/bin/docker" --version >/dev/null
    "$directory/usr/sbin/dockerd" --version >/dev/null

    mapfile -t packages < <(listed docker image)
    apt_unpack "$image" "${packages[@]}"
    rm -rf "${image:?}/usr/share" "$image"/usr/lib/*/gconv
    tar -C "$image" --sort=name --mtime=@0 --numeric-owner --owner=0 --group=0 -cf "$directory/image.tar" .
    rm -rf "$image"
}
