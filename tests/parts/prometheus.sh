# shellcheck shell=bash
# The part "prometheus": Debian's Prometheus with promtool, and Grafana's own model of a dashboard.
# Sourced by install.sh, which provides HERE, listed, apt_install and apt_unpack.
#
# Contents:
#   bin/       prometheus, promtool
#   python/    grafana_foundation_sdk

install_prometheus() {
    local directory="$1" packages
    mapfile -t packages < <(listed prometheus install)
    apt_install "${packages[@]}"
    mapfile -t packages < <(listed prometheus unpack)
    apt_unpack "$directory/debian" "${packages[@]}"
    mkdir "$directory/bin"
    mv "$directory"/debian/usr/bin/{prometheus,promtool} "$directory/bin/"
    rm -rf "$directory/debian"
    "$directory/bin/prometheus" --version >/dev/null 2>&1

    /usr/bin/python3 -m pip --disable-pip-version-check --quiet install --require-hashes --only-binary=:all: \
        --root-user-action=ignore --target "$directory/python" -r "$HERE/prometheus-requirements.txt" >&2
}
