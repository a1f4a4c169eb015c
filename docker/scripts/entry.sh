#!/bin/sh
# Every container of ours: groundlook with the arguments given, if its home can be written.
set -eu
if ! mkdir -p "$GROUNDLOOK_HOME" "$HOME" 2>/dev/null || ! [ -w "$GROUNDLOOK_HOME" ]; then
    echo "groundlook: user $(id -u) can't write $GROUNDLOOK_HOME; give the volume to it: chown -R 10001:10001" >&2
    exit 1
fi
exec groundlook "$@"
