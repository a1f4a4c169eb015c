#!/bin/sh
# Whether this container does its work: health.sh serve [PORT] | worker
set -eu
case ${1:-serve} in
serve)
    # As Label Studio asks it, which waits for a second.
    exec python3 -c "import sys, urllib.request as r; r.urlopen(sys.argv[1], timeout=3).read()" \
        "http://127.0.0.1:${2:-9090}/health"
    ;;
worker)
    # A worker that died ended its container; one that can't reach the home or the queue has no work.
    exec groundlook jobs --json >/dev/null
    ;;
*) echo "health.sh: '$1'? serve or worker" >&2 && exit 2 ;;
esac
