#!/usr/bin/env bash
# The first process of a node of the tests, in namespaces of its own: lays the node's files over the machine's, and
# keeps the node until it is killed.
#
#   node.sh HOME CACHE DOCKER HOST_NAME PROGRAMS [MACHINE]
#
# HOME has the node's own files: etc/ to lie over /etc, conf/ for /etc/hadoop/conf, root/ for /root; /run and /opt are
# empty. It lies in CACHE, which every user of the node can reach. DOCKER is the part with the engine's programs, and
# PROGRAMS the directory of this build's, which may lie below a directory that the node has its own of.
# With MACHINE it runs among the files of a booted node, and keeps them; MACHINE has what the node lacks: the cache,
# the machine's /usr and /etc, and control groups.
set -euo pipefail

main() {
    local home="$1" cache="$2" docker="$3" host_name="$4" programs="$5" machine="${6:-}"
    local source="$cache"
    hostname "$host_name"
    mount --make-rprivate /
    if [[ -n "$machine" ]]; then
        source="$machine/cache"
        take_control_groups "$machine"
        configure_java "$machine"
    else
        exec 3<"$programs"
        mount -t overlay etc -o "lowerdir=/etc,upperdir=$home/etc,workdir=$home/etc.work" /etc
        mount --bind "$home/conf" /etc/hadoop/conf
        mount -t tmpfs -o mode=755 run /run
        mount -t tmpfs -o mode=755 opt /opt
    fi
    # Files there are named by process id, and ids on the node begin at 1 again.
    mount -t tmpfs -o mode=1777 shm /dev/shm
    mount -t overlay usr -o "lowerdir=$source${docker#"$cache"}/usr:$machine/usr" /usr
    open_cache "$home" "$cache" "$source"
    [[ -n "$machine" ]] || show_programs "$programs"
    touch "$home/ready"
    exec tini -s -- sleep infinity
}

# runc looks for control groups among all mounts, and those of the node begin at its own.
take_control_groups() {
    local machine="$1"
    umount --recursive /sys/fs/cgroup
    mount --rbind "$machine/cgroup" /sys/fs/cgroup
    umount --recursive "$machine/cgroup"
}

# Debian's JVMs have their settings below /etc.
configure_java() {
    local machine="$1" directory name
    for directory in "$machine"/etc/java-*/; do
        name="$(basename "$directory")"
        mkdir -p "/etc/$name"
        mount --bind "$directory" "/etc/$name"
    done
}

# A home directory is closed to other users, so a part of the tree with nothing in it but the cache takes its place.
open_cache() {
    local home="$1" cache="$2" source="$3" path closed=
    path="$cache"
    while [[ "$path" != / ]]; do
        [[ ! -e "$path" ]] || (($(stat -c '0%a' "$path") & 1)) || closed="$path"
        path="$(dirname "$path")"
    done
    mount --bind "$source" /mnt
    [[ -z "$closed" ]] || mount -t tmpfs -o mode=755 node "$closed"
    mount --bind "/mnt${home#"$cache"}/root" /root
    mkdir -p "$cache"
    mount --move /mnt "$cache"
}

# By their descriptor, since their path leads elsewhere by now.
show_programs() {
    local programs="$1"
    if [[ ! -e "$programs/emr-ecr-agent" ]]; then
        mkdir -p "$programs"
        mount --no-canonicalize --bind /proc/self/fd/3 "$programs"
    fi
    exec 3<&-
}

main "$@"
