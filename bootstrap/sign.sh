#!/usr/bin/env bash
# Signs what package.sh has built: the RPMs, then SHA256SUMS, which names all files, as SHA256SUMS.sig.
#
#   sign.sh --key FILE [--rpm-key NAME] [DIRECTORY]
#
# The key (PEM; RSA or ECDSA P-256) is for install.sh --public-key; NAME is a GPG key for rpm. DIRECTORY is dist/ by
# default. A key in a hardware module or KMS can sign SHA256SUMS with its own tool: the signature is that of `openssl
# dgst -sha256`, RSA PKCS #1 1.5 or ECDSA in DER.
set -euo pipefail

main() {
    local key='' rpm_key='' directory=dist rpm
    while (($#)); do
        case "$1" in
            --key) key="$(realpath -- "${2:?}")" && shift ;;
            --rpm-key) rpm_key="${2:?}" && shift ;;
            -*) usage ;;
            *) directory="$1" ;;
        esac
        shift
    done
    [[ -n "$key" ]] || usage

    cd -- "$directory"
    sha256sum --check --quiet --strict SHA256SUMS
    if [[ -n "$rpm_key" ]]; then
        for rpm in ./*.rpm; do
            # The signed digests of Amazon Linux 2's rpm.
            rpmsign --define "__gpg $(command -v gpg2 || command -v gpg)" --define "_gpg_name $rpm_key" --define "_gpg_digest_algo sha256" --addsign "$rpm" >/dev/null
        done
        awk '{ print $2 }' SHA256SUMS | xargs sha256sum -- >SHA256SUMS.new
        mv SHA256SUMS.new SHA256SUMS
    fi
    openssl dgst -sha256 -sign "$key" -out SHA256SUMS.sig SHA256SUMS
    openssl dgst -sha256 -verify <(openssl pkey -in "$key" -pubout) -signature SHA256SUMS.sig SHA256SUMS >/dev/null
    printf 'sign: %s/SHA256SUMS.sig; digest for --sha256: %s\n' "$directory" "$(sha256sum <SHA256SUMS | cut -d ' ' -f 1)" >&2
}

usage() {
    sed -n '4s/^# */usage: /p' "${BASH_SOURCE[0]}" >&2
    exit 64
}

main "$@"
