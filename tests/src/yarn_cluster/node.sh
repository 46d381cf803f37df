#!/usr/bin/env bash
# The first process of a node of the tests, in namespaces of its own: lays the node's files over the machine's, and
# keeps the node until it is killed.
#
#   node.sh HOME CACHE DOCKER HOST_NAME
#
# HOME has the node's own files: etc/ to lie over /etc, conf/ for /etc/hadoop/conf, root/ for /root; /run and /opt are
# empty. It lies in CACHE,
# which every user of the node can reach. DOCKER is the part with the engine's programs.
set -euo pipefail

main() {
    local home="$1" cache="$2" docker="$3" host_name="$4"
    hostname "$host_name"
    mount --make-rprivate /
    mount -t overlay etc -o "lowerdir=/etc,upperdir=$home/etc,workdir=$home/etc.work" /etc
    mount --bind "$home/conf" /etc/hadoop/conf
    mount -t overlay usr -o "lowerdir=$docker/usr:/usr" /usr
    mount -t tmpfs -o mode=755 run /run
    mount -t tmpfs -o mode=755 opt /opt
    open_cache "$home" "$cache"
    touch "$home/ready"
    exec tini -s -- sleep infinity
}

# A home directory is closed to other users, so a part of the tree with nothing in it but the cache takes its place.
open_cache() {
    local home="$1" cache="$2" path closed=
    path="$cache"
    while [[ "$path" != / ]]; do
        (($(stat -c '0%a' "$path") & 1)) || closed="$path"
        path="$(dirname "$path")"
    done
    mount --bind "$cache" /mnt
    [[ -z "$closed" ]] || mount -t tmpfs -o mode=755 node "$closed"
    mount --bind "/mnt${home#"$cache"}/root" /root
    mkdir -p "$cache"
    mount --move /mnt "$cache"
}

main "$@"
