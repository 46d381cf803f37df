#!/usr/bin/env bash
# Installs emr-ecr-agent on a node of Amazon EMR, as a bootstrap action:
#
#   --bootstrap-actions Path=s3://BUCKET/emr-ecr-agent/install.sh,Args=[--from,s3://BUCKET/emr-ecr-agent/]
#
# Bootstrap actions run before Hadoop is installed, and a failing one terminates the node. So this needs only bash
# (4.2), coreutils, util-linux, grep, sed, tar, curl and the AWS CLI, never blocks, finishes within 30 s, and exits
# 0 whatever happens, unless --strict is given. It never installs packages and never edits files it does not own.
#
# On failure it prints one line that begins with "emr-ecr-agent: NOT INSTALLED:". The node is then unchanged, unless the
# check of --verify failed: if the new program does not come up, or is not ready where the previous one was, the
# previous one is restored.
#
# Control of this script, or of the location it is read from, is control of the node: keep both it and the packages
# in your own bucket. SHA256SUMS beside the packages detects damage, not an attacker who can write there; --sha256
# and --public-key do, if this script comes from elsewhere.
set -euo pipefail
umask 022

HELP='usage: install.sh [OPTION]...

The package:
  --from SOURCE       location of the packages: s3://BUCKET/PREFIX/, https://HOST/PREFIX/, a directory, or a
                      single package (.tar.gz) [default: the directory of this script]
  --version VERSION   version to install [default: the newest in SHA256SUMS at SOURCE]
  --sha256 DIGEST     install only from a SHA256SUMS with this digest, which covers every architecture, or only the
                      package with this digest; without it, whoever can write at SOURCE decides what is installed
  --public-key FILE   install only if SHA256SUMS.sig is a signature of SHA256SUMS by this key (PEM; RSA or ECDSA),
                      local or s3:// or https://
  --region REGION     AWS Region to ask S3 in
  --endpoint URL      endpoint of S3, such as a VPC endpoint
  --proxy URL         proxy for these downloads; for the agent, use --env HTTPS_PROXY=URL

The settings:
  --registry HOST     serve this ECR registry in addition to those Hadoop trusts; repeatable
  --config FILE       settings file, local or s3:// or https://; replaces --registry, --hdfs-path, --listen
  --hdfs-path PATH    path to publish to, on HDFS or as an hdfs:// URI
  --listen ADDRESS    address of the health endpoint, IP:PORT
  --env KEY=VALUE     variable for the daemon, such as AWS_ENDPOINT_URL_ECR; repeatable, never logged
  --credentials-file FILE
                      credentials of other registries in the form of Docker'\''s config.json, local or s3:// or https://
  --replace-config    replace settings, variables and credentials that are on the node; without it they stay, and
                      a line that begins with "emr-ecr-agent: NOT applied:" names what they differ in

The run:
  --on-primary MODE   on a primary node: check (program only, no daemon), skip, or run [default: check]
  --no-start          install and enable the service, but do not start it
  --verify            finally, check that the installed program is the one running, and print a line that begins
                      with "emr-ecr-agent: VERIFIED:" on standard output
  --strict            exit 1 if anything fails; without it, report the failure and exit 0
  --help              print this text

On any failure, it prints one line that begins with "emr-ecr-agent: NOT INSTALLED:". The node is then as it was before,
unless the check of --verify failed.'

# The whole run must finish within 30 s, even if the network or the disk hangs, except for an upgrade's wait.
SECONDS_FOR_ALL=28
SECONDS_TO_LOCK=10
SECONDS_TO_FETCH=17
SECONDS_TO_START=8
# How long an upgraded agent may take to become ready where the previous one was.
SECONDS_TO_BE_READY=60
SECONDS_FOR_UPGRADE=$((SECONDS_FOR_ALL + SECONDS_TO_BE_READY + 20))
# In KiB; a package has a tenth of it.
LARGEST_DOWNLOAD=65536
# The oldest systemd that supports the sandbox drop-in.
SANDBOX_SYSTEMD=235

PROGRAM=/usr/local/bin/emr-ecr-agent
LIBRARY=/usr/local/lib/emr-ecr-agent
SETTINGS=/etc/emr-ecr-agent/agent.toml
ENVIRONMENT=/etc/emr-ecr-agent/environment
CREDENTIALS=/etc/emr-ecr-agent/credentials.json
UNIT=emr-ecr-agent.service
UNITS=/etc/systemd/system
SANDBOX=$UNITS/$UNIT.d/sandbox.conf
KEYTAB=$UNITS/$UNIT.d/keytab.conf
LOGS=/var/log/emr-ecr-agent
LOG_PUSHER=/etc/logpusher/emr-ecr-agent.config
INSTANCE=/mnt/var/lib/info/instance.json
# Until the service has come up with new files: the state of the agent before them (ready, active or inactive), then
# the replaced files, one per line.
PENDING=$LIBRARY/pending
LOCK=/run/emr-ecr-agent-install.lock
# The RPM's unit.
OTHER_UNIT=/usr/lib/systemd/system/$UNIT
DOCUMENTS=(agent.toml keytab.conf LICENSE THIRD-PARTY-LICENSES.txt)
OURS=("$PROGRAM" "$LIBRARY/uninstall.sh" "${DOCUMENTS[@]/#/$LIBRARY/}" "$SETTINGS" "$ENVIRONMENT" "$CREDENTIALS"
    "$UNITS/$UNIT" "$SANDBOX" "$KEYTAB" "$LOG_PUSHER")
# An upgrade keeps the previous versions of these beside the new ones.
KEPT=("$PROGRAM" "$SETTINGS" "$ENVIRONMENT" "$CREDENTIALS")
# The program's exit codes for invalid settings, and for an agent that is not ready.
WRONG_SETTINGS=78
NOT_READY=1

# A line of TOML with the key, in any spelling.
NAMES_KEYTAB='^[^#]*\bkeytab["'\'']?[[:space:]]*='

# Prefixes of the lines for scripts: without a time, complete, and the last of their kind.
REFUSAL='emr-ecr-agent: NOT INSTALLED: '
VERIFIED='emr-ecr-agent: VERIFIED: '
NOT_APPLIED='emr-ecr-agent: NOT applied: '

# For cleanup by the worker process: its temporary directory, and the files staged beside their targets.
work=''
staged=()
# Files of an earlier installation that the new settings do not need.
obsolete=()

# Enforces the deadline, keeps the log and sets the exit code; `carry_out` does the work in a child process.
main() {
    local strict='' argument outcome=0 within="$SECONDS_FOR_ALL" refusal='' record=''
    for argument in "$@"; do
        case "$argument" in
            --help) printf '%s\n' "$HELP" && exit 0 ;;
            --strict) strict=yes ;;
        esac
    done

    # A reader that closes the pipe must not terminate the cluster.
    trap '' PIPE
    [[ ! -e "$UNITS/$UNIT" ]] || within="$SECONDS_FOR_UPGRADE"
    # Lets `relay` set this shell's variables.
    shopt -s lastpipe
    INSTALL_WITHIN="$within" timeout --kill-after=1 "$within" bash -- "${BASH_SOURCE[0]-}" "$@" 2>&1 |
        relay || outcome="${PIPESTATUS[0]}"
    if [[ "$outcome" != 0 ]]; then
        case "$outcome" in
            124 | 137) : "${refusal:="${REFUSAL}gave up after $within s"}" ;;
            *) : "${refusal:="${REFUSAL}see the lines above"}" ;;
        esac
        record+="$(stamped "$refusal")"$'\n'
        printf '%s\n' "$refusal" >&2 || true
    fi
    keep_log "$record"
    [[ -z "$strict" || "$outcome" == 0 ]] || exit 1
    exit 0
}

# Prints the worker's lines with the time, collects them in $record, and leaves the reason for a failure in $refusal.
relay() {
    local line
    while IFS= read -r line; do
        if [[ "$line" == "$REFUSAL"* ]]; then
            refusal="$line"
            continue
        fi
        record+="$(stamped "$line")"$'\n'
        case "$line" in
            "$VERIFIED"*) printf '%s\n' "$line" ;;
            "$NOT_APPLIED"*) printf '%s\n' "$line" >&2 ;;
            *) stamped "$line" >&2 ;;
        esac
    done
}

carry_out() {
    local from='' version='' digest='' public_key='' region='' endpoint='' proxy=''
    local config='' hdfs_path='' listen='' registries=() variables=() credentials='' replace=''
    local on_primary=check start=yes verify='' daemon=yes package replaced=() was_active='' was_ready=''
    read_arguments "$@"
    choose_by_role || return 0
    [[ ! -e "$OTHER_UNIT" ]] ||
        fail "the RPM emr-ecr-agent is on this node: upgrade it with dnf or yum, or remove it first (rpm --erase emr-ecr-agent)"

    find_sudo
    lock
    work="$(mktemp -d)" || fail "cannot create a temporary directory"
    trap 'unstage; rm -rf "$work"' EXIT
    obtain_package
    obtain_settings
    stage_files
    place_files
    if [[ -n "$daemon" ]]; then activate; else forget_previous; fi
    [[ -z "$verify" ]] || verify_installation
    say "done"
}

# --- options -------------------------------------------------------------------------------------------------------

read_arguments() {
    while (($#)); do
        case "$1" in
            --strict) ;;
            --no-start) start='' ;;
            --replace-config) replace=yes ;;
            --verify) verify=yes ;;
            --from | --version | --sha256 | --public-key | --region | --endpoint | --proxy | --registry | --config | \
                --hdfs-path | --listen | --env | --credentials-file | --on-primary)
                [[ -n "${2-}" ]] || fail "$1 requires a value"
                take_value "$1" "$2"
                shift
                ;;
            # An option's argument may be a secret.
            -*) fail "unknown option ${1%%=*}; see --help" ;;
            *) fail "unexpected argument; see --help" ;;
        esac
        shift
    done
    [[ -z "$config" || -z "$hdfs_path$listen${registries[*]-}" ]] ||
        fail "--config excludes --registry, --hdfs-path and --listen: set them in that file"
    [[ -n "$from" ]] || from="$(dirname "$(realpath "${BASH_SOURCE[0]}")")"
}

# Sets the variables of `carry_out`. Rejects anything that could break out of a TOML string.
take_value() {
    local secure='^(https://|http://(127\.0\.0\.1|localhost)[:/])[^[:cntrl:]]*$'
    case "$1" in
        --from) from="$(location "$@")" ;;
        --config) config="$(location "$@")" ;;
        --credentials-file) credentials="$(location "$@")" ;;
        --public-key) public_key="$(location "$@")" ;;
        --version) version="$(matching '^[0-9A-Za-z.+~-]+$' "$@")" ;;
        --sha256) digest="$(matching '^[0-9a-f]{64}$' "$1" "${2,,}")" ;;
        --region) region="$(matching '^[a-z0-9-]+$' "$@")" ;;
        --endpoint)
            endpoint="$(location "$@")"
            endpoint="$(matching "$secure" "$1" "$endpoint")"
            ;;
        --proxy)
            proxy="$(location "$@")"
            proxy="$(matching '^https?://[][A-Za-z0-9.:-]+/?$' "$1" "$proxy")"
            ;;
        --registry) registries+=("$(matching '^[A-Za-z0-9.-]+$' "$@")") ;;
        --hdfs-path) hdfs_path="$(matching '^(/|hdfs://|viewfs://)[^"\\[:cntrl:]]*$' "$@")" ;;
        --listen) listen="$(matching '^[][0-9a-fA-F.:]+$' "$@")" ;;
        --env)
            [[ "$2" =~ ^[A-Za-z_][A-Za-z0-9_]*= && ! "$2" =~ [[:cntrl:]] ]] ||
                fail "--env requires KEY=VALUE, a name and a text without control characters"
            variables+=("$2")
            ;;
        --on-primary) on_primary="$(matching '^(check|skip|run)$' "$@")" ;;
    esac
}

matching() {
    local pattern="$1" option="$2" value="$3"
    # It may be a secret.
    [[ "$value" =~ $pattern ]] || fail "invalid value for $option; see --help"
    printf '%s' "$value"
}

# Credentials in a URL would end up in the log, which EMR copies to S3, and in the process list.
location() {
    [[ ! "$2" =~ ^[a-z0-9]+://([^/]*@|.*\?) ]] || fail "$1 must not have a user, a password or a query in its URL"
    printf '%s' "$2"
}

# The primary node submits jobs but runs no containers, so it gets no daemon by default.
choose_by_role() {
    local instance=''
    [[ ! -r "$INSTANCE" ]] || instance="$(<"$INSTANCE")"
    [[ "$instance" =~ \"isMaster\"[[:space:]]*:[[:space:]]*true ]] || return 0
    case "$on_primary" in
        run) say "primary node: installing the daemon (--on-primary run)" ;;
        check)
            say "primary node: installing the program without the daemon"
            daemon=''
            ;;
        skip)
            say "primary node: nothing to do (--on-primary skip)"
            return 1
            ;;
    esac
}

# --- the package ---------------------------------------------------------------------------------------------------

# Leaves the verified, unpacked package in $package.
obtain_package() {
    if [[ "$from" != *.tar.gz && "$from" != *://* && -e "$from/emr-ecr-agent" ]]; then
        [[ -z "$digest$public_key" ]] || fail "--sha256 and --public-key need a packed package, not $from"
        package="$work/package"
        cp -R -- "$from" "$package" || fail "cannot copy $from"
    else
        obtain_archive
        tar -xzf "$work/archive" --no-same-owner -C "$work" || fail "cannot unpack the package"
        package="$(echo "$work"/emr-ecr-agent-*/)"
    fi
    (cd "$package" && sha256sum --check --quiet --strict SHA256SUMS) || fail "the package is corrupt"
}

# Leaves the package's archive, checked against SHA256SUMS or --sha256, in $work/archive.
obtain_archive() {
    local source="$from" name wanted=''
    if [[ "$source" == *.tar.gz ]]; then
        name="${source##*/}"
        source="${source%"$name"}"
    else
        source="${source%/}/"
        name="emr-ecr-agent-${version:-*}-$(uname -m).tar.gz"
    fi
    if fetch "${source:-./}SHA256SUMS" "$work/sums"; then
        [[ -z "$public_key" ]] || check_signature
        choose_archive
    elif [[ -z "$digest" || -n "$public_key" || "$name" == *'*'* ]]; then
        fail "cannot get ${source}SHA256SUMS"
    fi
    say "downloading $source$name"
    fetch "${source:-./}$name" "$work/archive" || fail "cannot get $source$name"
    : "${wanted:="$digest"}"
    has_digest "$wanted" "$work/archive" || fail "$name does not have the SHA-256 digest $wanted"
}

check_signature() {
    fetch "$public_key" "$work/key.pem" || fail "cannot get the public key $public_key"
    fetch "${source:-./}SHA256SUMS.sig" "$work/signature" || fail "cannot get ${source}SHA256SUMS.sig"
    command -v openssl >/dev/null || fail "--public-key needs openssl, which is missing"
    openssl dgst -sha256 -verify "$work/key.pem" -signature "$work/signature" "$work/sums" >/dev/null ||
        fail "${source}SHA256SUMS.sig is not a signature of SHA256SUMS by $public_key"
    say "the signature of SHA256SUMS is good"
}

# Sets name and wanted to the newest match in SHA256SUMS.
choose_archive() {
    local sum file newest=''
    while read -r sum file; do
        # shellcheck disable=SC2053  # name is a pattern
        [[ "${file#\*}" == $name ]] || continue
        newest="$(printf '%s\n' "$newest" "${file#\*} $sum" | sort -V | tail -n 1)"
    done <"$work/sums"
    [[ -n "$newest" ]] || fail "SHA256SUMS of $source names no $name"
    name="${newest% *}"
    wanted="${newest##* }"
    [[ -z "$digest" || "$digest" == "$wanted" ]] || has_digest "$digest" "$work/sums" ||
        fail "SHA256SUMS of $source does not have the SHA-256 digest $digest, nor has $name"
}

has_digest() {
    echo "$1  $2" | sha256sum --check --quiet --strict >/dev/null 2>&1
}

fetch() {
    local source="$1" target="$2" left=$((SECONDS_TO_FETCH - SECONDS))
    ((left > 0)) || fail "no time left to get $source"
    # The AWS CLI reaches the metadata service over plain HTTP, which needs no proxy.
    [[ -z "$proxy" ]] || local -x HTTPS_PROXY="$proxy" https_proxy="$proxy"
    case "$source" in
        s3://*)
            limited timeout "$left" aws s3 cp --only-show-errors ${region:+--region "$region"} \
                ${endpoint:+--endpoint-url "$endpoint"} "$source" "$target"
            ;;
        https://*)
            limited timeout "$left" curl --fail --silent --show-error --retry 2 --output "$target" \
                --proto '=https' --location --max-redirs 5 --proto-redir '=https' "$source"
            ;;
        *://*) fail "cannot get $source: use s3:// or https://" ;;
        *) limited cp -- "$source" "$target" ;;
    esac
}

# Keeps an endless download from filling the disk.
limited() (
    ulimit -f "$LARGEST_DOWNLOAD"
    "$@"
)

# --- the settings --------------------------------------------------------------------------------------------------

# Leaves the settings to install in $work: agent.toml, and environment and credentials.json if they were given.
obtain_settings() {
    if [[ -n "$config" ]]; then
        fetch "$config" "$work/agent.toml" || fail "cannot get settings $config"
    else
        render_settings >"$work/agent.toml"
    fi
    ((!${#variables[@]})) || render_environment >"$work/environment"
    [[ -z "$credentials" ]] || fetch "$credentials" "$work/credentials.json" ||
        fail "cannot get credentials $credentials"
}

# The options, and a log file, since EMR copies files, but not the journal, to S3.
render_settings() {
    local host
    printf '# Written by install.sh. All keys, with defaults: %s/agent.toml\n' "$LIBRARY"
    [[ -z "$credentials" ]] || printf '\nstatic_credentials = "%s"\n' "$CREDENTIALS"
    printf '\n[log]\nfile = "%s/agent.log"\n' "$LOGS"
    [[ -z "$hdfs_path" ]] || printf '\n[published]\npath = "%s"\n' "$hdfs_path"
    [[ -z "$listen" ]] || printf '\n[health]\nlisten = "%s"\n' "$listen"
    for host in ${registries[@]+"${registries[@]}"}; do
        printf '\n[[registries]]\nhost = "%s"\n' "$host"
    done
}

render_environment() {
    local pair
    printf '# Written by install.sh.\n'
    for pair in "${variables[@]}"; do
        printf '%s="' "${pair%%=*}"
        # In double quotes, every systemd version takes an escaped character literally.
        printf '%s"\n' "${pair#*=}" | sed 's/[\\"$`]/\\&/g; s/\\"$/"/'
    done
}

stage_settings() {
    local differing=() name
    stage_setting 644 "$work/agent.toml" "$SETTINGS" || differing+=("$(settings_that_differ)")
    [[ ! -e "$work/environment" ]] || stage_setting 600 "$work/environment" "$ENVIRONMENT" ||
        for name in "${variables[@]%%=*}"; do differing+=("--env $name"); done
    [[ ! -e "$work/credentials.json" ]] || stage_setting 600 "$work/credentials.json" "$CREDENTIALS" ||
        differing+=("--credentials-file $credentials")
    name="$(printf '%s\n' ${differing[@]+"${differing[@]}"} | grep . | paste -sd, | sed 's/,/, /g')" || return 0
    printf '%s%s: the existing settings stay; --replace-config replaces them\n' "$NOT_APPLIED" "$name" >&2 || true
}

# Fails if different settings exist, which stay.
stage_setting() {
    if as_root test -e "$3" && [[ -z "$replace" ]] && ! as_root cmp -s -- "$2" "$3"; then return 1; fi
    stage "$@"
}

# The options that the existing settings lack, one per line.
settings_that_differ() {
    say "keeping the existing $SETTINGS"
    [[ -z "$config" ]] || echo "--config $config"
    has_line "path = \"$hdfs_path\"" || echo "--hdfs-path $hdfs_path"
    has_line "listen = \"$listen\"" || echo "--listen $listen"
    local host
    for host in ${registries[@]+"${registries[@]}"}; do
        has_line "host = \"$host\"" || echo "--registry $host"
    done
    [[ -z "$credentials" ]] || has_line "static_credentials = \"$CREDENTIALS\"" || echo "--credentials-file $credentials"
}

# Succeeds if the existing settings have this line; an option that was not given has an empty value.
has_line() {
    [[ "$1" == *'""' ]] || as_root grep -Fqxs -- "$1" "$SETTINGS"
}

# --- the files -----------------------------------------------------------------------------------------------------

# Stages all files beside their targets, so that a full disk or a read-only directory leaves the node unchanged. Leaves
# identical files alone.
stage_files() {
    # Leftovers of a killed installation.
    as_root rm -f -- "${OURS[@]/%/.new}" || fail "cannot remove leftovers of an earlier installation"
    stage 755 "$package/emr-ecr-agent" "$PROGRAM"
    check_program
    stage 755 "$package/uninstall.sh" "$LIBRARY/uninstall.sh"
    local document
    for document in "${DOCUMENTS[@]}"; do
        stage 644 "$package/$document" "$LIBRARY/$document"
    done
    stage_settings
    [[ -z "$daemon" ]] || stage_daemon
}

stage_daemon() {
    stage 644 "$package/emr-ecr-agent.service" "$UNITS/$UNIT"
    local version
    version="$(systemd_version)"
    ((version < SANDBOX_SYSTEMD)) || stage 644 "$package/sandbox.conf" "$SANDBOX"
    stage_keytab
    stage 644 "$package/logpusher.config" "$LOG_PUSHER"
    # The unit can write only to directories that exist when it starts.
    as_root test -d /root/.docker || as_root mkdir -m 700 /root/.docker || fail "cannot create /root/.docker"
    as_root mkdir -p "$LOGS" || fail "cannot create $LOGS"
}

# The unit has its capability only while the settings, new or kept, name a keytab.
stage_keytab() {
    local outcome=0
    as_root grep -Eqs "$NAMES_KEYTAB" "$(settings_to_be)" || outcome=$?
    case "$outcome" in
        0) stage 644 "$package/keytab.conf" "$KEYTAB" ;;
        1) ! as_root test -e "$KEYTAB" || obsolete+=("$KEYTAB") ;;
        *) fail "cannot read $(settings_to_be); nothing was changed" ;;
    esac
}

# The file with the settings that will apply.
settings_to_be() {
    if [[ -e "$SETTINGS" && -z "$replace" ]]; then echo "$SETTINGS"; else echo "$work/agent.toml"; fi
}

stage() {
    local mode="$1" source="$2" target="$3"
    if as_root cmp -s -- "$source" "$target" && [[ "$(as_root stat -c %a -- "$target")" == "$mode" ]]; then return; fi
    as_root mkdir -p -- "$(dirname "$target")" || fail "cannot create the directory of $target; nothing was changed"
    staged+=("$target")
    as_root install -m "$mode" -o root -g root -- "$source" "$target.new" ||
        fail "cannot write $target.new; nothing was changed"
}

unstage() {
    ((!${#staged[@]})) || as_root rm -f -- "${staged[@]/%/.new}" || true
}

# Checks on this machine: the right architecture, a recent enough C library, settings that the program accepts.
check_program() {
    local program="$PROGRAM" outcome=0 answer settings
    [[ ! -e "$PROGRAM.new" ]] || program="$PROGRAM.new"
    answer="$(version_of "$program")" || fail "the program does not run on this node: $answer"
    say "$answer"
    settings="$(settings_to_be)"
    answer="$(as_root timeout 5 "$program" config check --config "$settings" 2>&1 >/dev/null)" || outcome=$?
    ((outcome != WRONG_SETTINGS)) || fail "this version refuses the settings; nothing was changed: $answer"
}

# Renames each staged file to its target, and removes obsolete ones. The previous file stays beside it until the service
# has come up.
place_files() {
    local target
    recall_pending || note_state
    if ((!${#staged[@]} && !${#obsolete[@]})); then
        ((${#replaced[@]})) || say "already up to date"
        return 0
    fi
    for target in ${staged[@]+"${staged[@]}"} ${obsolete[@]+"${obsolete[@]}"}; do
        # After a killed installation, the last working file is already beside it.
        ! is_among "$target" ${replaced[@]+"${replaced[@]}"} || continue
        as_root rm -f -- "$target.previous" || fail "cannot remove $target.previous; nothing was changed"
        ! as_root test -e "$target" || as_root ln -- "$target" "$target.previous" ||
            fail "cannot keep $target; nothing was changed"
        replaced+=("$target")
    done
    # Survives a killed installation, so that the next one restarts the service.
    printf '%s\n' "$(former_state)" "${replaced[@]}" | as_root tee -- "$PENDING" >/dev/null || fail "cannot write $PENDING"
    for target in ${staged[@]+"${staged[@]}"}; do
        as_root mv -f -- "$target.new" "$target" || go_back "cannot replace $target"
    done
    for target in ${obsolete[@]+"${obsolete[@]}"}; do
        say "removing $target: the settings do not need it"
        as_root rm -f -- "$target" || go_back "cannot remove $target"
    done
    staged=()
}

# Continues an installation that did not end: what it replaced, and the state of the agent before it.
recall_pending() {
    local known=()
    mapfile -t known < <(as_root cat -- "$PENDING" 2>/dev/null || true)
    ((${#known[@]} > 1)) || return 1
    replaced=("${known[@]:1}")
    [[ "${known[0]}" == inactive ]] || was_active=yes
    [[ "${known[0]}" != ready ]] || was_ready=yes
}

former_state() {
    if [[ -n "$was_ready" ]]; then echo ready; elif [[ -n "$was_active" ]]; then echo active; else echo inactive; fi
}

# Records the state of the agent to be replaced.
note_state() {
    [[ -n "$daemon" ]] || return 0
    ! as_root systemctl --quiet is-active "$UNIT" || was_active=yes
    [[ -z "$was_active" ]] || ! as_root "$PROGRAM" status >/dev/null 2>&1 || was_ready=yes
}

# On one line: version, commit, build.
version_of() {
    timeout 5 "$1" --version 2>&1 | paste -sd, - | sed 's/,/, /g'
}

systemd_version() {
    local name version
    read -r name version _ < <(systemctl --version)
    [[ "$name" == systemd && "$version" =~ ^[0-9]+ ]] || fail "cannot determine the systemd version"
    echo "${BASH_REMATCH[0]}"
}

# --- the service ---------------------------------------------------------------------------------------------------

activate() {
    local verb=start
    as_root systemctl daemon-reload || go_back "systemctl daemon-reload failed"
    as_root systemctl --quiet enable "$UNIT" || go_back "cannot enable $UNIT"
    if [[ -z "$start" ]]; then
        say "installed and enabled; not started (--no-start)"
        # Nothing ran before that an upgrade could go back to.
        [[ -n "$was_active" ]] || forget_previous
        return
    fi
    ((!${#replaced[@]})) || verb=restart
    as_root systemctl "$verb" "$UNIT" || go_back "cannot $verb $UNIT; see journalctl -u $UNIT"
    comes_up || go_back "the agent does not come up; see journalctl -u $UNIT"
    if [[ -n "$was_ready" ]]; then
        say "waiting until it is ready, as the previous one was"
        SECONDS_TO_START=$((SECONDS_TO_BE_READY + 5)) \
            as_root "$PROGRAM" status --wait "${SECONDS_TO_BE_READY}s" >/dev/null 2>&1 ||
            go_back "the agent is not ready within $SECONDS_TO_BE_READY s, and the previous one was; see journalctl -u $UNIT"
        say "the service is running and ready"
    else
        say "the service is running; it becomes ready once Hadoop and HDFS are up; see emr-ecr-agent status"
    fi
    forget_previous
}

# Succeeds if the agent responds soon, ready or not.
comes_up() {
    local outcome until=$((SECONDS + SECONDS_TO_START))
    while ((SECONDS < until)); do
        outcome=0
        as_root "$PROGRAM" status >/dev/null 2>&1 || outcome=$?
        ((outcome != 0 && outcome != NOT_READY)) || return 0
        as_root systemctl --quiet is-active "$UNIT" || return 1
        sleep 0.2
    done
    return 1
}

# Completes the installation: the previous program and settings stay beside the new ones.
forget_previous() {
    local target
    for target in ${replaced[@]+"${replaced[@]}"}; do
        is_among "$target" "${KEPT[@]}" || as_root rm -f -- "$target.previous" || true
    done
    as_root rm -f -- "$PENDING" || true
}

# Restores the replaced files and the service's former state, then fails with this reason.
go_back() {
    local why="$1" target now='all changes were undone'
    ((${#replaced[@]})) || fail "$why"
    say "$why; rolling back"
    # A program that hangs does not react to SIGTERM.
    as_root systemctl --no-block stop "$UNIT" 2>/dev/null || true
    as_root systemctl kill --signal=KILL "$UNIT" 2>/dev/null || true
    for target in "${replaced[@]}"; do
        if as_root test -e "$target.previous"; then
            as_root mv -f -- "$target.previous" "$target" || fail "$why; cannot put $target back"
            continue
        fi
        [[ "$target" != "$UNITS/$UNIT" ]] || as_root systemctl --quiet disable "$UNIT" 2>/dev/null || true
        as_root rm -f -- "$target" || fail "$why; cannot remove $target"
    done
    as_root rm -f -- "$PENDING" || true
    as_root rmdir -- "$LIBRARY" "${SETTINGS%/*}" "${SANDBOX%/*}" "${LOG_PUSHER%/*}" /root/.docker 2>/dev/null || true
    as_root systemctl daemon-reload || fail "$why; rolled back, but systemctl daemon-reload failed"
    as_root systemctl reset-failed "$UNIT" 2>/dev/null || true
    [[ ! -x "$PROGRAM" ]] || now="rolled back to $(version_of "$PROGRAM" || true)"
    if [[ -n "$was_active" ]]; then
        if as_root systemctl restart "$UNIT" && comes_up; then
            now+=', which is running'
        else
            now+=', which is not running'
        fi
    fi
    fail "$why; $now"
}

# Checks that the node has, and runs, what was installed.
verify_installation() {
    local version process outcome=0 state='installed, without the daemon'
    version="$(version_of "$PROGRAM")" || fail "the program does not run: $version"
    if [[ -n "$daemon" && -z "$start" ]]; then
        state='installed, not started'
    elif [[ -n "$daemon" ]]; then
        process="$(as_root systemctl show --property MainPID "$UNIT")"
        as_root cmp -s -- "/proc/${process#MainPID=}/exe" "$PROGRAM" || fail "$UNIT does not run the program that was installed"
        as_root "$PROGRAM" status >/dev/null 2>&1 || outcome=$?
        case "$outcome" in
            0) state='running, ready' ;;
            "$NOT_READY") state='running, not ready yet' ;;
            *) fail "the agent does not answer; see journalctl -u $UNIT" ;;
        esac
    fi
    printf '%s%s: %s\n' "$VERIFIED" "$version" "$state"
}

# --- helpers -------------------------------------------------------------------------------------------------------

SUDO=()
find_sudo() {
    ((EUID != 0)) || return 0
    command -v sudo >/dev/null || fail "sudo is missing"
    SUDO=(sudo -n)
    as_root true || fail "user $(id -un) cannot use sudo"
}

# timeout runs under sudo, since only root can kill a root process.
as_root() {
    ${SUDO[@]+"${SUDO[@]}"} timeout --kill-after=1 "$SECONDS_TO_START" "$@"
}

# Held until this process ends. Other users cannot open the file, and so cannot block an installation.
lock() {
    # shellcheck disable=SC2016  # expanded by the inner shell
    as_root sh -c 'umask 077 && : >>"$1" && chown "$2" "$1"' sh "$LOCK" "$(id -u)" || fail "cannot create $LOCK"
    exec 9>>"$LOCK" || fail "cannot open $LOCK"
    flock --wait "$SECONDS_TO_LOCK" 9 || fail "another installation still runs"
}

is_among() {
    local wanted="$1" other
    shift
    for other in "$@"; do
        [[ "$other" != "$wanted" ]] || return 0
    done
    return 1
}

# A lost terminal must not end the work halfway.
say() {
    printf 'emr-ecr-agent: %s\n' "$*" >&2 || true
}

# On one line, even if the reason has several.
fail() {
    local why="$*"
    printf '%s%s\n' "$REFUSAL" "${why//$'\n'/; }" >&2
    exit 1
}

stamped() {
    printf '%(%FT%TZ)T %s\n' -1 "$1"
}

# Best effort: on failure, everything is on stderr as well.
keep_log() {
    ((EUID == 0)) || SUDO=(sudo -n)
    printf '%s' "$1" | as_root sh -c "mkdir -p $LOGS && cat >>$LOGS/install.log" 2>/dev/null || true
}

if [[ -n "${INSTALL_WITHIN-}" ]]; then
    carry_out "$@"
else
    TZ=UTC main "$@"
fi
