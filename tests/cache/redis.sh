#!/bin/sh
# Runs a command with a Redis of its own, in a temporary folder and on a unix socket; RAYGATE_TEST_REDIS names it.
# The server ends with the command. Usage: redis.sh COMMAND …
set -eu

find_redis() {
    command -v valkey-server || command -v redis-server || true
}

SERVER=$(find_redis)
if [ -z "$SERVER" ] && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "Installing Debian's Redis ..." >&2
    apt-get update -qq >&2
    # Without a service of its own: ours lives as long as the tests.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends redis-server >&2
    SERVER=$(find_redis)
fi
if [ -z "$SERVER" ]; then
    echo "There is no Redis here; install it (Debian: apt install redis-server as root, macOS: brew install redis)," >&2
    echo "or name a server of yours: RAYGATE_TEST_REDIS=redis://… make test" >&2
    exit 1
fi

FOLDER=$(mktemp -d /tmp/raygate-redis.XXXXXX)
"$SERVER" --port 0 --unixsocket "$FOLDER/socket" --dir "$FOLDER" --save "" --appendonly no --maxmemory 64mb \
    --maxmemory-policy allkeys-lru >"$FOLDER/log" 2>&1 &
PID=$!

end() {
    kill "$PID" 2>/dev/null || true
    wait "$PID" 2>/dev/null || true
    rm -rf "$FOLDER"
}
trap end EXIT
trap 'exit 130' INT TERM

TRIES=0
while [ ! -S "$FOLDER/socket" ]; do
    TRIES=$((TRIES + 1))
    if [ "$TRIES" -gt 100 ] || ! kill -0 "$PID" 2>/dev/null; then
        cat "$FOLDER/log" >&2
        exit 1
    fi
    sleep 0.1
done

RAYGATE_TEST_REDIS="unix://$FOLDER/socket" "$@"
