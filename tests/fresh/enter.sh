#!/usr/bin/env bash
# Runs a make target in another root. run.sh starts it as the first process of a new PID and mount namespace.
#
#   enter.sh ROOT CHECKOUT TARGET
set -euo pipefail

root="$1" checkout="$2" target="$3"

# CI: a missing part is a failure.
environment=(HOME=/root LANG=C.UTF-8 TERM=dumb CI=true
    PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
# Settings of the package clients that come from the environment.
for name in {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY PIP_INDEX_URL RUSTUP_AUTO_INSTALL; do
    [[ ! -v "$name" ]] || environment+=("$name=${!name}")
done

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind -o ro "${RUSTUP_HOME:-$HOME/.rustup}" "$root/root/.rustup"

# From here on, paths are inside the other root.
cd "$root"
pivot_root . mnt
cd "$checkout"
umount --lazy /mnt

# No exec: the first process must reap orphans, which make does not.
env -i "${environment[@]}" make "$target"
