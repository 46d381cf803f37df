#!/usr/bin/env bash
# Runs a word of the Makefile in another root. Called by run.sh as the first process of a new PID and mount namespace.
#
#   enter.sh ROOT CHECKOUT WORD
set -euo pipefail

root="$1" checkout="$2" word="$3"

# CI: a part that is missing is a failure.
environment=(HOME=/root LANG=C.UTF-8 TERM=dumb CI=true
    PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
# Settings of the package clients that are given by the environment.
for name in {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY PIP_INDEX_URL RUSTUP_AUTO_INSTALL; do
    [[ ! -v "$name" ]] || environment+=("$name=${!name}")
done

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind -o ro "${RUSTUP_HOME:-$HOME/.rustup}" "$root/root/.rustup"

# From here on, paths are those of the other root.
cd "$root"
pivot_root . mnt
cd "$checkout"
umount --lazy /mnt

# Not by exec: the first process takes in orphans, which make would not.
env -i "${environment[@]}" make "$word"
