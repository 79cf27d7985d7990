#!/usr/bin/env bash
# Private PostgreSQL and Redis servers, with all they write in one folder, on free ports of the loopback address.
#
#   scripts/peers.sh run [OPTION]… COMMAND…                  run a command against fresh servers, leave nothing behind
#   scripts/peers.sh start [OPTION]… DIR [postgres|redis]…   start them, print how to reach them as NAME=value lines
#   scripts/peers.sh stop DIR [postgres|redis]…              stop them; the folder stays
#   scripts/peers.sh find postgres|redis                     print where the server's programs are
#
# Both servers are meant when none is named. Starting again in the same folder keeps the ports and PostgreSQL's data, so
# that a server can be restarted under its clients. The machine's own servers and their ports are never touched.
#
# --durable, for benchmarks: on disk as in production (docker-compose.yml). Without it no commit waits for the disk, and
# Redis loses everything when it stops.
#
# --statements: PostgreSQL loads pg_stat_statements, which counts the time of every statement.
#
# The lines are TEST_DATABASE_URL, TEST_REDIS_URL, TEST_POSTGRES_BIN (a folder) and TEST_REDIS_SERVER (a program).
set -euo pipefail

# Below the range from which the kernel serves port 0 (32768…), so that no client is given a port in between.
readonly FIRST_PORT=15000 PORTS=16000 TRIES=20
readonly OLDEST_POSTGRES=15 OLDEST_REDIS=7
readonly MEMORY_ENOUGH_KB=$((4 * 1024 * 1024))

DIR=
DURABLE=no
STATEMENTS=no
# Whether the kernel ends a server when its script is killed (PR_SET_PDEATHSIG); only where the script stays running.
DIES_WITH_SCRIPT=no

main() {
    local command=${1:-}
    [ $# -eq 0 ] || shift
    while :; do
        case ${1:-} in
        --durable) DURABLE=yes ;;
        --statements) STATEMENTS=yes ;;
        *) break ;;
        esac
        shift
    done
    [ $# -gt 0 ] || usage
    case $command in
    run) run "$@" ;;
    start)
        # An interrupted start would leave a server that no one stops. A start takes seconds, so it is not interrupted.
        trap '' INT TERM HUP
        start "$@"
        ;;
    stop)
        trap '' INT TERM HUP
        stop "$@"
        ;;
    find) find_server "$1" ;;
    *) usage ;;
    esac
}

run() {
    local line
    DIR=$(mktemp -d "$(folder_for_servers)/recado-peers.XXXXXX")
    DIES_WITH_SCRIPT=yes
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    if [ "$DURABLE" = no ]; then
        # Files of SQLite too.
        mkdir "$DIR/tmp"
        export TMPDIR=$DIR/tmp
    fi
    start "$DIR" >"$DIR/env"
    forget_product_settings
    while IFS= read -r line; do
        export "${line?}"
    done <"$DIR/env"
    run_to_its_end "$@"
}

# Every story makes a database of some 800 files and removes it: in memory that takes the kernel a fraction of the time.
# A benchmark that waits for the disk must have one; /tmp may be memory too.
folder_for_servers() {
    local kilobytes
    if [ "$DURABLE" = yes ]; then
        echo /var/tmp
        return
    fi
    kilobytes=$(df --output=avail -k /dev/shm 2>/dev/null | tail -1) || kilobytes=0
    if [ -w /dev/shm ] && [ "$kilobytes" -gt "$MEMORY_ENOUGH_KB" ]; then echo /dev/shm; else echo /tmp; fi
}

start() {
    local name
    mkdir -p "$1"
    DIR=$(cd "$1" && pwd)
    shift
    [ $# -gt 0 ] || set -- postgres redis
    check_names "$@"
    for name in "$@"; do
        "start_$name"
    done
}

stop() {
    local name
    [ -d "$1" ] || fail "No such folder: $1"
    DIR=$(cd "$1" && pwd)
    shift
    [ $# -gt 0 ] || set -- redis postgres
    check_names "$@"
    for name in "$@"; do
        "stop_$name"
    done
}

find_server() {
    check_names "$1"
    "find_$1"
}

# --- Running a command ---

# The command gets a process group of its own. An interruption is passed on to the whole group. The servers stop only after
# it has ended: otherwise the last test would lose its database, or outlive this script.
run_to_its_end() {
    local command status=0
    set -m
    "$@" </dev/null &
    command=$!
    set +m
    # shellcheck disable=SC2064 # The number of the process is known now and needed then.
    for signal in INT TERM HUP; do trap "kill -$signal -- -$command 2>/dev/null || true" $signal; done
    wait "$command" || status=$?
    # A trap ends wait early.
    while kill -0 "$command" 2>/dev/null; do
        status=0
        wait "$command" || status=$?
    done
    exit "$status"
}

clean_up() {
    trap '' INT TERM HUP
    stop "$DIR" || true
    wait
    rm -rf "$DIR"
}

# Variables of a developer's shell for Recado, or for any PostgreSQL client, are not meant for the tests.
forget_product_settings() {
    local name
    while IFS= read -r name; do
        case $name in
        DATABASE_URL | REDIS_URL | LISTEN | METRICS_LISTEN | RECADO_* | API_KEYS | API_RATE_* | ALLOW_ANONYMOUS_API | \
            INTERNAL_API_* | EMAIL_* | DEFAULT_FROM_EMAIL | EVOLUTION_* | VAPID_* | WHATSAPP_* | NOTIFICATION_* | \
            RECIPIENT_* | OUTBOUND_* | TIME_ZONE | PG[A-Z]*)
            unset "$name"
            ;;
        esac
    done < <(compgen -e)
    # A proxy for the package registry must not be asked for servers on this machine.
    export NO_PROXY="127.0.0.1,localhost,::1${NO_PROXY:+,$NO_PROXY}"
}

# --- PostgreSQL ---

# The newest of Debian's versions, which are not on the PATH, or else the one on the PATH.
find_postgres() {
    local bin
    while IFS= read -r bin; do
        if [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] &&
            at_least "$OLDEST_POSTGRES" "$("$bin/postgres" --version)"; then
            echo "$bin"
            return
        fi
    done < <(
        printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV
        dirname "$(readlink -f "$(command -v initdb || true)")"
    )
    fail "No PostgreSQL $OLDEST_POSTGRES or newer was found. On Debian: apt-get install postgresql"
}

start_postgres() {
    local bin home=$DIR/postgres tried
    bin=$(find_postgres)
    [ -s "$home/data/PG_VERSION" ] || create_postgres "$bin" "$home"
    for ((tried = 1; ; tried++)); do
        ! is_up "$home" "$home/data" || break
        choose_port "$home"
        launch "$home" INT "$(postgres_user)" "$bin/postgres" -D "$home/data" -p "$(cat "$home/port")"
        ! gets_ready "$home" postgres_is_ready || break
        retry_or_fail PostgreSQL "$home" "$tried" 'could not create any TCP/IP sockets'
    done
    echo "TEST_POSTGRES_BIN=$bin"
    echo "TEST_DATABASE_URL=postgres://recado@127.0.0.1:$(cat "$home/port")/postgres"
}

# SIGINT is PostgreSQL's fast shutdown, which does not wait for clients.
stop_postgres() {
    local home=$DIR/postgres
    stop_server "$home" "$home/data" INT
}

# The server writes its process id and state to this file. Connecting proves less: another server could have the port.
postgres_is_ready() {
    local note=$1/data/postmaster.pid
    [ "$(sed -n 1p "$note" 2>/dev/null)" = "$(cat "$1/pid")" ] && sed -n 8p "$note" | grep -q '^ready'
}

create_postgres() {
    local bin=$1 home=$2 user
    user=$(postgres_user)
    mkdir -p "$home"
    if [ -n "$user" ]; then
        # The server's user must be able to pass through the folder, which mktemp makes for its owner alone.
        chmod o+x "$DIR"
        chown "$user" "$home"
        as_user "$user" test -x "$home" ||
            fail "PostgreSQL runs as user $user, who cannot reach $DIR. Choose a folder below /tmp."
    fi
    # C.UTF-8 is also what docker-compose.yml asks for: the order of texts is the same in tests, production and SQLite.
    (cd "$home" && as_user "$user" "$bin/initdb" --pgdata="$home/data" --username=recado --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 --no-sync </dev/null >"$home/log" 2>&1) || show_log_and_fail PostgreSQL "$home"
    postgres_settings "$home" >>"$home/data/postgresql.conf"
}

postgres_settings() {
    cat <<EOF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$1'
max_connections = 200
timezone = 'UTC'
log_timezone = 'UTC'
EOF
    # Otherwise as in production. A commit still waits for its record to be written, only not for the disk. A story takes
    # some ten connections, and there may be as many stories at once as somebody asks for threads.
    [ "$DURABLE" = yes ] || printf '%s\n' 'fsync = off' 'full_page_writes = off' 'max_connections = 1000'
    [ "$STATEMENTS" = no ] || echo "shared_preload_libraries = 'pg_stat_statements'"
}

# PostgreSQL refuses to run as root: there it runs as the user of Debian's package, or as nobody.
postgres_user() {
    [ "$(id -u)" -eq 0 ] || return 0
    if id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

# --- Redis ---

find_redis() {
    local program
    for program in redis-server valkey-server; do
        program=$(command -v "$program") || continue
        at_least "$OLDEST_REDIS" "$("$program" --version | sed 's/.*v=//')" || continue
        echo "$program"
        return
    done
    fail "No Redis $OLDEST_REDIS or newer was found. On Debian: apt-get install redis-server"
}

start_redis() {
    local program home=$DIR/redis tried append=no
    program=$(find_redis)
    mkdir -p "$home"
    [ "$DURABLE" = no ] || append=yes
    for ((tried = 1; ; tried++)); do
        ! is_up "$home" "127.0.0.1:$(cat "$home/port" 2>/dev/null)" || break
        choose_port "$home"
        # A test may take a database number of its own: hence more than the usual 16.
        launch "$home" TERM '' "$program" --bind 127.0.0.1 --port "$(cat "$home/port")" --dir "$home" \
            --databases 1024 --save '' --appendonly "$append" --maxmemory-policy noeviction
        ! gets_ready "$home" redis_is_ready || break
        retry_or_fail Redis "$home" "$tried" 'Address already in use'
    done
    echo "TEST_REDIS_SERVER=$program"
    echo "TEST_REDIS_URL=redis://127.0.0.1:$(cat "$home/port")/0"
}

stop_redis() {
    local home=$DIR/redis
    stop_server "$home" "127.0.0.1:$(cat "$home/port" 2>/dev/null)" TERM
}

redis_is_ready() {
    grep -qs 'Ready to accept connections' "$1/log"
}

# --- Both ---

# launch HOME SIGNAL USER COMMAND…: in the background, where the terminal's Ctrl-C does not reach it. The servers do not
# become daemons by themselves: a child can be waited for, and leaves no zombie where process 1 reaps none.
launch() {
    local home=$1 signal=$2 user=$3
    shift 3
    local -a options=()
    [ -z "$user" ] || options+=("--reuid=$user" "--regid=$(id -g "$user")" --init-groups)
    [ "$DIES_WITH_SCRIPT" = no ] || options+=(--pdeathsig "$signal")
    (cd "$home" && exec setsid setpriv "${options[@]}" -- "$@") </dev/null >"$home/log" 2>&1 &
    echo $! >"$home/pid"
}

as_user() {
    local user=$1
    shift
    local -a options=()
    [ -z "$user" ] || options=("--reuid=$user" "--regid=$(id -g "$user")" --init-groups)
    setpriv "${options[@]}" -- "$@"
}

gets_ready() {
    local home=$1 is_ready=$2 tenths
    for ((tenths = 0; tenths < 600; tenths++)); do
        if "$is_ready" "$home"; then
            touch "$home/has_run"
            return 0
        fi
        kill -0 "$(cat "$home/pid")" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# stop_server HOME MARK SIGNAL: by SIGNAL, and by SIGKILL when the server still runs after 15 seconds.
stop_server() {
    local home=$1 mark=$2 signal=$3 pid tenths
    is_up "$home" "$mark" || return 0
    pid=$(cat "$home/pid")
    # A test may have stopped it with SIGSTOP, and then it handles no signal.
    kill -CONT "$pid" 2>/dev/null || true
    kill "-$signal" "$pid" 2>/dev/null || true
    for ((tenths = 0; tenths < 150; tenths++)); do
        is_up "$home" "$mark" || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

# The pid file outlives a killed server, and another process may have got its id by then. So its command line must contain
# the mark, which is PostgreSQL's data folder or Redis's address. (A zombie has no command line.)
is_up() {
    [ -s "$1/pid" ] && grep -Fqas -- "$2" "/proc/$(cat "$1/pid")/cmdline"
}

choose_port() {
    local home=$1 port
    [ ! -s "$home/port" ] || return 0
    while :; do
        port=$((FIRST_PORT + RANDOM % PORTS))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
    done
    echo "$port" >"$home/port"
}

# A port can be taken between the choice and the start; then another one is tried. Where the server has run before, its
# clients know the port, so this is an error.
retry_or_fail() {
    local name=$1 home=$2 tried=$3 port_taken=$4
    if [ ! -e "$home/has_run" ] && [ "$tried" -lt "$TRIES" ] && grep -q "$port_taken" "$home/log"; then
        rm -f "$home/port"
        return
    fi
    show_log_and_fail "$name" "$home"
}

show_log_and_fail() {
    cat "$2/log" >&2 2>/dev/null || true
    fail "$1 did not start in $2; its log is above."
}

# Whether the first number in a text such as "postgres (PostgreSQL) 15.18 (Debian …)" is big enough.
at_least() {
    [[ $2 =~ [0-9]+ ]] && [ "${BASH_REMATCH[0]}" -ge "$1" ]
}

check_names() {
    local name
    for name in "$@"; do
        case $name in
        postgres | redis) ;;
        *) fail "Unknown server: $name (there are postgres and redis)" ;;
        esac
    done
}

usage() {
    sed -n '/^#   scripts/s/^# *//p' "$0" >&2
    exit 2
}

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

main "$@"
