# shellcheck shell=bash
# The part "spark": Spark from PyPI's pyspark, and an image that its containers run in.
# Sourced by install.sh, which provides listed, apt_install, debian_root, as_root and say.
#
# Contents:
#   home/       SPARK_HOME: bin/, jars/, python/lib/
#   image.tar   a Debian root with Java and Python

install_spark() {
    local directory="$1" packages
    mapfile -t packages < <(listed spark install)
    apt_install "${packages[@]}"
    unpack_spark "$directory"
    make_spark_image "$directory"
}

# The source archive has what a wheel would have, and needs no build.
unpack_spark() {
    local directory="$1" source="$1/source"
    say "downloading Spark (317 MB)"
    /usr/bin/python3 -m pip --disable-pip-version-check --quiet download --no-deps --no-binary pyspark \
        --require-hashes --dest "$source" -r "$HERE/spark-requirements.txt" >&2
    mkdir -p "$directory/home/python"
    tar -C "$source" --strip-components 1 --wildcards -xzf "$source"/pyspark-*.tar.gz \
        'pyspark-*/deps/bin' 'pyspark-*/deps/jars' 'pyspark-*/lib'
    mv "$source/deps/bin" "$source/deps/jars" "$directory/home/"
    mv "$source/lib" "$directory/home/python/"
    rm -rf "$source"
    # Containers of any user read it.
    chmod -R a+rX "$directory/home"
}

make_spark_image() {
    local directory="$1" root="$1/root" packages
    mapfile -t packages < <(listed spark include)
    debian_root "$root" "${packages[@]}"
    as_root rm -rf "$root"/var/lib/apt/lists "$root"/var/cache/apt "$root"/usr/share/doc "$root"/usr/share/locale
    # The directories that YARN mounts may lie below it.
    as_root chmod 755 "$root/root"
    as_root tar -C "$root" --sort=name --numeric-owner --exclude='./dev/*' -cf "$directory/image.tar" .
    as_root rm -rf "$root"
}
