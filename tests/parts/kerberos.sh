# shellcheck shell=bash
# The part "kerberos": MIT's KDC and tools, unpacked rather than installed, so that no service starts on this machine.
# Sourced by install.sh, which provides listed, apt_unpack and say.
#
# Contents:
#   bin/        krb5kdc, kdb5_util, kadmin.local, kinit
#   lib/        the libraries that they and the agent load; and libfaketime, which shifts a process's clock
#   plugins/    the KDC's database module

install_kerberos() {
    local directory="$1" packages
    mapfile -t packages < <(listed kerberos unpack)
    apt_unpack "$directory/debian" "${packages[@]}"

    mkdir "$directory/bin" "$directory/lib"
    mv "$directory"/debian/usr/sbin/{krb5kdc,kdb5_util,kadmin.local} "$directory/debian/usr/bin/kinit" "$directory/bin/"
    mv "$directory"/debian/usr/lib/*/krb5/plugins "$directory/plugins"
    find "$directory/debian" -path '*/lib/*' -name 'lib*.so.*' -exec mv -t "$directory/lib" {} +
    rm -rf "$directory/debian"
    LD_LIBRARY_PATH="$directory/lib" ldd "$directory/bin/krb5kdc" | grep 'not found' >&2 && exit 70
    return 0
}
