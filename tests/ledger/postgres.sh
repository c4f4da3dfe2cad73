#!/bin/sh
# Runs a command with a Postgres of its own, in a temporary folder and on a unix socket; RAYGATE_TEST_POSTGRES names it.
# The server ends with the command. Usage: postgres.sh COMMAND …
set -eu

find_postgres() {
    for bin in "$(command -v pg_ctl 2>/dev/null | xargs -r dirname)" $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -Vr); do
        if [ -n "$bin" ] && [ -x "$bin/initdb" ] && [ -x "$bin/pg_ctl" ]; then
            echo "$bin"
            return
        fi
    done
}

BIN=$(find_postgres)
if [ -z "$BIN" ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing Debian's Postgres ..." >&2
    # Without a cluster of its own: ours lives as long as the tests.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
    BIN=$(find_postgres)
fi
if [ -z "$BIN" ]; then
    echo "There is no Postgres here; install it (Debian: apt install postgresql as root, macOS: brew install postgresql)," >&2
    echo "or name a server of yours: RAYGATE_TEST_POSTGRES=postgresql://… make test" >&2
    exit 1
fi

FOLDER=$(mktemp -d /tmp/raygate-postgres.XXXXXX)
# Postgres refuses to run as root.
if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || useradd --system postgres
    chown postgres "$FOLDER"
    as() { setpriv --reuid postgres --regid "$(id -g postgres)" --clear-groups "$@"; }
else
    as() { "$@"; }
fi

end() {
    as "$BIN/pg_ctl" --pgdata "$FOLDER/data" --mode immediate --silent stop >/dev/null 2>&1 || true
    rm -rf "$FOLDER"
}
trap end EXIT
trap 'exit 130' INT TERM

cd "$FOLDER"
as "$BIN/initdb" --pgdata "$FOLDER/data" --username raygate --auth trust --encoding UTF8 --no-locale --no-sync >"$FOLDER/log" 2>&1 ||
    { cat "$FOLDER/log" >&2; exit 1; }
as "$BIN/pg_ctl" --pgdata "$FOLDER/data" --log "$FOLDER/server.log" --silent --wait \
    --options "-c listen_addresses='' -c unix_socket_directories='$FOLDER'" start ||
    { cat "$FOLDER/server.log" >&2; exit 1; }
cd - >/dev/null

RAYGATE_TEST_POSTGRES="postgresql://raygate@/postgres?host=$FOLDER" "$@"
