# shellcheck shell=bash
# The part "kerberos": MIT's KDC and its tools, unpacked and not installed, so that no service starts on this machine.
# Sourced by install.sh, which gives it listed, apt_unpack and say.
#
# What lies in the folder afterwards:
#   bin/        krb5kdc, kdb5_util, kadmin.local, kinit
#   lib/        the libraries that they, and the agent, load; and libfaketime, which moves a process's clock
#   plugins/    the KDC's database module

install_kerberos() {
    local folder="$1" packages
    mapfile -t packages < <(listed kerberos unpack)
    apt_unpack "$folder/debian" "${packages[@]}"

    mkdir "$folder/bin" "$folder/lib"
    mv "$folder"/debian/usr/sbin/{krb5kdc,kdb5_util,kadmin.local} "$folder/debian/usr/bin/kinit" "$folder/bin/"
    mv "$folder"/debian/usr/lib/*/krb5/plugins "$folder/plugins"
    find "$folder/debian" -path '*/lib/*' -name 'lib*.so.*' -exec mv -t "$folder/lib" {} +
    rm -rf "$folder/debian"
    LD_LIBRARY_PATH="$folder/lib" ldd "$folder/bin/krb5kdc" | grep 'not found' >&2 && exit 70
    return 0
}
