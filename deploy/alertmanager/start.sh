#!/bin/sh
# start.sh GIVEN WRITTEN ALERTMANAGER [OPTION]...
# Writes the configuration GIVEN to WRITTEN, with the webhooks of the environment, and becomes
# Alertmanager, whose own configuration cannot read variables:
#   ALERTMANAGER_WEBHOOK_URL  is told of every alert
#   ALERTMANAGER_PAGE_URL     is told of those with severity="page" instead
#   ALERTMANAGER_GROUP_WAIT   replaces group_wait, such as 2s
set -eu
given=$1 written=$2
shift 2

default=${ALERTMANAGER_WEBHOOK_URL:-}
page=${ALERTMANAGER_PAGE_URL:-$default}

webhook() {
    if [ -n "$1" ]; then
        printf '    webhook_configs: [{url: "%s"}]\n' "$1"
    fi
}

while IFS= read -r line; do
    case $line in
        "  group_wait: "*) printf '  group_wait: %s\n' "${ALERTMANAGER_GROUP_WAIT:-${line#*: }}" ;;
        *) printf '%s\n' "$line" ;;
    esac
    case $line in
        "  - name: default") webhook "$default" ;;
        "  - name: page") webhook "$page" ;;
    esac
done <"$given" >"$written"

exec "$@" "--config.file=$written"
