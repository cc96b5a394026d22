#!/bin/sh
# Serves /www on $PORT (80); GET / answers the host's name. Ends at once when asked to: a shell as the first process of a
# container would otherwise ignore the signal.
hostname > /www/index.html
httpd -f -vv -p "${PORT:-80}" -h /www &
child=$!
trap 'kill "$child"; exit 0' TERM INT
echo "serving $(hostname) on port ${PORT:-80}"
wait "$child"
