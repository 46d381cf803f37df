# shellcheck shell=bash
# The part "hadoop": one version of Hadoop (HDFS and YARN) from Maven Central, prepared for a fast start.
# Sourced by install.sh, which provides HADOOP, listed, apt_install and say.
#
# Contents:
#   java          link to the Java (17 or later) that prepared it
#   jvm.options   argument file for java: all flags but the class path
#   classpath     the jars; to start a JVM, append web/ and a conf directory
#   name/         a formatted NameNode directory with EMR's paths, copied for each new HDFS
#   classes.jsa   shared class archive, which halves the start time of every JVM

install_hadoop() {
    local directory="$1"
    find_java "$directory"
    find_maven
    collect_jars "$directory"
    compile_classes "$directory"
    make_web_applications "$directory"
    prepare_start "$directory"
}

# Uses the JDK in JAVA_HOME or on PATH if it is recent enough, otherwise Debian's.
find_java() {
    local directory="$1" javac jdk package
    javac="${JAVA_HOME:+$JAVA_HOME/bin/}javac"
    if ! is_new_enough "$javac"; then
        package="$(listed hadoop install | grep '^openjdk')"
        apt_install "$package"
        javac="$(dpkg -L "${package%%=*}" | grep '/bin/javac$')"
        is_new_enough "$javac" || {
            say "no JDK 17 or later: $javac"
            exit 69
        }
    fi
    jdk="$(dirname "$(dirname "$(readlink -f "$(command -v "$javac")")")")"
    ln -s "$jdk" "$directory/jdk"
    ln -s "$jdk/bin/java" "$directory/java"
}

is_new_enough() {
    local version
    version="$("$1" -version 2>/dev/null)" || return 1
    version="${version#javac }"
    ((${version%%.*} >= 17))
}

find_maven() {
    command -v mvn >/dev/null || apt_install "$(listed hadoop install | grep '^maven')"
}

# Maven resolves the jars; the checksum list of this version pins each one.
collect_jars() {
    local directory="$1" checksums="$HERE/hadoop/$HADOOP.sha256"
    say "downloading Hadoop $HADOOP (70 to 99 MB)"
    mvn --batch-mode --log-file "$directory/maven.log" --file "$HERE/hadoop/pom.xml" \
        "-Dmaven.repo.local=$CACHE/downloads/maven" "-Dhadoop=$HADOOP" -DincludeScope=runtime \
        "-DoutputDirectory=$directory/jars" dependency:copy-dependencies >"$directory/maven.out" 2>&1 9>&- || {
        cat "$directory/maven.out" >&2
        grep '^\[ERROR\]' "$directory/maven.log" >&2
        exit 69
    }
    (cd "$directory/jars" && LC_ALL=C sha256sum -- *.jar) | diff "$checksums" - >&2 || {
        say "the jars of Hadoop $HADOOP from Maven do not match $checksums"
        exit 65
    }
}

compile_classes() {
    local directory="$1" classpath
    classpath="$(printf '%s:' "$directory"/jars/*.jar)"
    "$directory/jdk/bin/javac" -proc:none -Xlint:-options -cp "${classpath%:}" -d "$directory/classes" \
        "$HERE"/hadoop/java/*.java
    "$directory/jdk/bin/jar" --create --file "$directory/jars/sandbox.jar" -C "$directory/classes" .
    rm -rf "$directory/classes"
    classpath="$(printf '%s:' "$directory"/jars/*.jar)"
    printf '%s' "${classpath%:}" >"$directory/classpath"
}

# The servers do not start without their web applications, which the jars do not contain.
make_web_applications() {
    mkdir -p "$1"/web/webapps/{hdfs,datanode,secondary,cluster,node,static}
}

# --- one training run: creates the NameNode directory and records the classes for the shared archive --------------

prepare_start() {
    local directory="$1" conf="$1/training" log="$1/training/log"
    say "preparing Hadoop $HADOOP for a fast start"
    mkdir -p "$conf/lists" "$log"
    write_jvm_options "$directory"
    write_training_conf "$directory" "$conf"
    if ! train "$directory"; then
        say "the training run failed; its last log lines:"
        tail -n 5 "$log"/* >&2
        exit 70
    fi
    dump_classes "$directory"
    rm -rf "$conf"
}

write_jvm_options() {
    cat >"$1/jvm.options" <<'OPTIONS'
-Xmx128m
-XX:+UseSerialGC
-XX:TieredStopAtLevel=1
-XX:-UsePerfData
--add-opens java.base/java.lang=ALL-UNNAMED
--add-opens java.base/java.io=ALL-UNNAMED
--add-opens java.base/java.net=ALL-UNNAMED
--add-opens java.base/java.util=ALL-UNNAMED
--add-opens java.base/java.util.concurrent=ALL-UNNAMED
--add-opens java.base/sun.nio.ch=ALL-UNNAMED
--add-opens java.base/sun.security.action=ALL-UNNAMED
--add-exports java.security.jgss/sun.security.krb5=ALL-UNNAMED
OPTIONS
}

write_training_conf() {
    local directory="$1" conf="$2"
    write_site "$conf/core-site.xml" \
        fs.defaultFS "hdfs://127.0.0.1:$(free_port)" \
        hadoop.tmp.dir "$conf/tmp"
    write_site "$conf/hdfs-site.xml" \
        dfs.replication 1 \
        dfs.permissions.superusergroup hdfsadmingroup \
        dfs.namenode.name.dir "$directory/name" \
        dfs.datanode.data.dir "$conf/data" \
        dfs.namenode.http-address 127.0.0.1:0 \
        dfs.datanode.address 127.0.0.1:0 \
        dfs.datanode.ipc.address 127.0.0.1:0 \
        dfs.datanode.http.address 127.0.0.1:0
    write_site "$conf/yarn-site.xml" \
        yarn.resourcemanager.resource-tracker.address "127.0.0.1:$(free_port)" \
        yarn.resourcemanager.address 127.0.0.1:0 \
        yarn.resourcemanager.scheduler.address 127.0.0.1:0 \
        yarn.resourcemanager.admin.address 127.0.0.1:0 \
        yarn.resourcemanager.webapp.address 127.0.0.1:0 \
        yarn.nodemanager.address 127.0.0.1:0 \
        yarn.nodemanager.localizer.address 127.0.0.1:0 \
        yarn.nodemanager.webapp.address 127.0.0.1:0 \
        yarn.nodemanager.local-dirs "$conf/yarn" \
        yarn.nodemanager.log-dirs "$conf/yarn-log" \
        yarn.nodemanager.disk-health-checker.enable false
    write_site "$conf/capacity-scheduler.xml" \
        yarn.scheduler.capacity.root.queues default \
        yarn.scheduler.capacity.root.default.capacity 100
    cat >"$conf/log4j.properties" <<'LOG4J'
log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{2}: %m%n
LOG4J
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
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

train() {
    local directory="$1" conf="$1/training"
    local hdfs=org.apache.hadoop.hdfs.server yarn=org.apache.hadoop.yarn.server
    learn format $hdfs.namenode.NameNode -format -force &&
        train_pair namenode $hdfs.namenode.NameNode datanode $hdfs.datanode.DataNode \
            datanode 'Successfully sent block report' fill &&
        train_pair resourcemanager $yarn.resourcemanager.ResourceManager nodemanager $yarn.nodemanager.NodeManager \
            resourcemanager 'registered with capability' true
}

# Runs two servers by name and class until the log of one of them has a text, and then a command.
train_pair() {
    local first second log="$conf/log/$5" text="$6" deadline=$((SECONDS + 300)) outcome=0
    exec_learning "$1" "$2" &
    first=$!
    exec_learning "$3" "$4" &
    second=$!
    until grep -qs "$text" "$log"; do
        if ((SECONDS > deadline)) || ! kill -0 "$first" "$second"; then
            outcome=1
            break
        fi
        sleep 0.2
    done
    ((outcome)) || "${@:7}" || outcome=1
    kill "$first" "$second" || true
    wait "$first" "$second" || true
    return $outcome
}

# EMR's directories with their owners and modes, and one write and read of a file.
fill() {
    local shell=org.apache.hadoop.fs.FsShell
    echo '{"auths":{"registry.example":{"auth":"QVdTOng="}}}' >"$conf/config.json"
    learn mkdir $shell -mkdir -p /user/hadoop &&
        learn chmod $shell -chmod 777 /user/hadoop &&
        learn chown $shell -chown hadoop:hdfsadmingroup /user/hadoop &&
        learn put $shell -put "$conf/config.json" /user/hadoop/config.json &&
        learn reader YarnReader once hdfs:///user/hadoop/config.json "$conf" &&
        learn rm $shell -rm -skipTrash /user/hadoop/config.json &&
        learn safemode org.apache.hadoop.hdfs.tools.DFSAdmin -safemode get
}

# Runs one program to completion while the JVM records the classes it loads.
learn() {
    (exec_learning "$@")
}

exec_learning() {
    local name="$1"
    shift
    export HADOOP_USER_NAME=hdfs
    exec_java -Xshare:off "-XX:DumpLoadedClassList=$conf/lists/$name" \
        -cp "$(<"$directory/classpath"):$directory/web:$conf" "$@" >"$conf/log/$name" 2>&1 9>&-
}

# The JVM replaces the shell, and dies with the installer even if that is killed.
exec_java() {
    exec setpriv --pdeathsig KILL "$directory/java" "@$directory/jvm.options" "$@"
}

dump_classes() {
    local directory="$1" conf="$1/training"
    cat "$conf"/lists/* | grep -v '^#' | sort -u >"$conf/classes"
    (exec_java -Xshare:dump "-XX:SharedClassListFile=$conf/classes" "-XX:SharedArchiveFile=$directory/classes.jsa" \
        -cp "$(<"$directory/classpath")") >"$conf/log/dump" 2>&1
    echo "-XX:SharedArchiveFile=$directory/classes.jsa" >>"$directory/jvm.options"
}
