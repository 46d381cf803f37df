#!/usr/bin/env bash
# Installs the parts, real servers and tools, that the tests and the demo need. Returns at once if they are installed.
#
#   [HADOOP=VERSION] install.sh [--only PART]...   without --only: those that the tests need
#
# Each part is a directory in the cache (EMR_ECR_AGENT_CACHE, by default ~/.cache/emr-ecr-agent), named by a digest of
# its inputs. If a run is killed, the next one installs that part from scratch; concurrent runs wait for each other.
# apt, as root or through sudo, installs system-wide only what cannot live in the cache.
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
CACHE="${EMR_ECR_AGENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/emr-ecr-agent}"
REAL_PARTS=(hadoop registry docker kerberos prometheus recipes)
TOOLS=(lint nextest audit fuzz mutants package node bench spark fresh)

# Raise this when a change of this script makes another part of the same inputs: it installs every part again.
FORMAT=1

# Inputs of a part in addition to its script and its lines in debian.txt.
HADOOP="${HADOOP:-$(awk '!/^#/ { print; exit }' "$HERE/hadoop/versions")}"
declare -A ALSO_MADE_FROM=(
    [hadoop]="hadoop/pom.xml hadoop/java hadoop/$HADOOP.sha256"
    [package]="package-requirements.txt"
    [node]="node-requirements.txt"
    [prometheus]="prometheus-requirements.txt"
    [recipes]="recipes-requirements.txt"
    [bench]="bench-requirements.txt"
    [spark]="spark-requirements.txt"
)

main() {
    local wanted=() lacking=() part version
    while (($#)); do
        case "$1" in
            --only)
                [[ " ${REAL_PARTS[*]} ${TOOLS[*]} " == *" ${2-} "* ]] || usage
                wanted+=("$2")
                shift 2
                ;;
            *) usage ;;
        esac
    done
    ((${#wanted[@]})) || wanted=("${REAL_PARTS[@]}")

    for part in "${wanted[@]}"; do
        [[ "$part" != hadoop ]] || check_hadoop_version
        version="$(link_of "$part")-$(version_of "$part")"
        is_current "$part" "$version" || lacking+=("$part")
    done
    ((${#lacking[@]})) || return 0
    # For all parts first, so that apt fetches its lists once, for every architecture.
    add_architectures "${lacking[@]}"
    for part in "${lacking[@]}"; do
        install_part "$part" "$(link_of "$part")-$(version_of "$part")"
    done
}

check_hadoop_version() {
    [[ -e "$HERE/hadoop/$HADOOP.sha256" ]] && return
    say "no checksums for Hadoop $HADOOP; known versions: $(grep -v '^#' "$HERE/hadoop/versions" | paste -sd' ')"
    exit 64
}

# The name of the link to a part; Hadoop has one per version.
link_of() {
    if [[ "$1" == hadoop ]]; then echo "hadoop-$HADOOP"; else echo "$1"; fi
}

usage() {
    echo "usage: $0 [--only PART]...   (parts: ${REAL_PARTS[*]} ${TOOLS[*]})" >&2
    exit 64
}

version_of() {
    local also
    read -ra also <<<"${ALSO_MADE_FROM[$1]-}"
    {
        echo "$FORMAT"
        grep "^$1 " "$HERE/debian.txt" || true
        cd "$HERE"
        find "$1.sh" "${also[@]}" -type f -print0 | sort -z | xargs -0 sha256sum
    } | sha256sum | cut -c1-16
}

is_current() {
    local link
    link="$(link_of "$1")"
    [[ -e "$CACHE/$link/.complete" && "$(readlink "$CACHE/$link")" == "$2" ]]
}

install_part() {
    local part="$1" version="$2" directory="$CACHE/$2" link
    link="$(link_of "$part")"
    mkdir -p "$CACHE/downloads"
    exec 9>"$CACHE/.lock"
    flock --nonblock 9 || {
        say "waiting for another installation to finish"
        flock 9
    }
    if is_current "$part" "$version"; then
        exec 9>&-
        return
    fi

    # Another checkout may have installed this version, and may be using it.
    [[ -e "$directory/.complete" ]] || make_part "$part" "$directory"
    ln -sfn "$version" "$CACHE/.$link.new"
    mv -T "$CACHE/.$link.new" "$CACHE/$link"
    drop_older "$link" "$version"
    say "$link: done"
    exec 9>&-
}

make_part() {
    local part="$1" directory="$2"
    say "$(link_of "$part"): installing into $directory"
    # Leftovers of a killed installation.
    rm -rf "$directory" "$CACHE/downloads"/deb.*
    mkdir -p "$directory"
    # shellcheck source=/dev/null
    source "$HERE/$part.sh"
    "install_$part" "$directory"
    touch "$directory/.complete"
}

# Keeps versions for a day: another checkout may be using an older one.
drop_older() {
    find "$CACHE" -maxdepth 1 -name "$1-*" ! -name "$2" -mtime +0 -exec rm -rf {} +
}

say() {
    printf 'parts: %s\n' "$*" >&2
}

# --- cargo ---------------------------------------------------------------------------------------------------

# Builds a tool with its own lock file into a directory. Optimizing it would take longer than running it.
cargo_install() {
    local directory="$1" tool="$2"
    shift 2
    say "building $tool (takes minutes)"
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        cargo install --quiet --locked --root "$directory" --target-dir "$directory/target" "$@" "$tool" >&2
}

# --- apt -----------------------------------------------------------------------------------------------------

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "this needs root or sudo: $*"
        exit 77
    fi
}

# The packages that debian.txt lists for a part and a method, as PACKAGE=VERSION.
listed() {
    awk -v part="$1" -v how="$2" '$1 == part && $2 == how { print $3 }' "$HERE/debian.txt"
}

# Registers with dpkg the foreign architectures that these parts need according to debian.txt.
add_architectures() {
    local part known architecture
    known="$(dpkg --print-architecture; dpkg --print-foreign-architectures)"
    for part in "$@"; do
        while read -r architecture; do
            ! grep -qx "$architecture" <<<"$known" || continue
            say "dpkg --add-architecture $architecture"
            as_root dpkg --add-architecture "$architecture"
            # apt's lists lack it until the next update.
            APT_UPDATED=
        done < <(sed -n "s/^$part .* [^ ]*:\([a-z0-9]*\)=.*/\1/p" "$HERE/debian.txt" | sort -u)
    done
}

APT_UPDATED=
apt_update_once() {
    [[ -z "$APT_UPDATED" ]] || return 0
    say "apt-get update"
    as_root apt-get -qq -o DPkg::Lock::Timeout=300 update >&2
    APT_UPDATED=yes
}

# The pinned version if the archive still has it, otherwise the current one, with a warning.
available() {
    local package="${1%%=*}" pinned="${1#*=}" candidate
    if [[ "$(apt-cache madison "$package" | awk -F' *[|] *' '{ print $2 }')" == *"$pinned"* ]]; then
        echo "$1"
        return
    fi
    candidate="$(apt-cache policy "$package" | awk '$1 == "Candidate:" { print $2 }')"
    if [[ -z "$candidate" || "$candidate" == "(none)" ]]; then
        say "the archive has no package $package"
        exit 69
    fi
    say "WARNING: the archive no longer has $package $pinned; using the current version $candidate"
    echo "$package=$candidate"
}

# Installs packages system-wide; keeps those already installed, in any version.
apt_install() {
    local wanted=() package found
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "${package%%=*}" 2>/dev/null | grep -q ' installed$' && continue
        apt_update_once
        found="$(available "$package")"
        wanted+=("$found")
    done
    ((${#wanted[@]})) || return 0
    say "apt-get install ${wanted[*]}"
    # Finishes packages that a killed installation left half configured.
    as_root dpkg --configure -a >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 install --no-install-recommends "${wanted[@]}" >&2
}

# Unpacks packages into a directory. apt verifies each against the archive's signed lists.
apt_unpack() {
    local into="$1" work package found
    shift
    work="$(mktemp -d "$CACHE/downloads/deb.XXXXXX")"
    apt_update_once
    for package in "$@"; do
        found="$(available "$package")"
        say "unpacking $found"
        (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$found" >&2)
    done
    for package in "$work"/*.deb; do
        dpkg-deb -x "$package" "$into"
    done
    rm -rf "$work"
}

# Creates a Debian 12 root with these packages, from this machine's archive and with its apt settings.
debian_root() {
    local root="$1" settings="$CACHE/downloads/apt.conf" include
    shift
    include="$(IFS=, && echo "$*")"
    apt_update_once
    say "creating a Debian root"
    apt-config dump Acquire | grep -v '^Acquire::IndexTargets' >"$settings"
    # shellcheck disable=SC2016  # apt expands it
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
        sort -u |
        as_root mmdebstrap --quiet --variant=minbase --mode=root --aptopt="$settings" --include="$include" \
            bookworm "$root" - >&2
}

main "$@"
