#!/bin/sh
# env.sh FILE [NAME=VALUE…]: writes the variables that docker-compose.yml cannot do without into
# FILE, as random secrets, and those given. What FILE has already stays: volumes were made with it.
# What FILE says of one service, as INGEST_X, is written into FILE.ingest, which that service is given.
set -eu
file=$1
shift
umask 077
touch "$file"
chmod 600 "$file"
for given in "$@"; do
    grep -q "^${given%%=*}=" "$file" || printf '%s\n' "$given" >>"$file"
done
compose=$(dirname "$0")/../docker-compose.yml
for name in $(grep -o '\${[A-Z0-9_]*:?' "$compose" | tr -d '${:?' | sort -u); do
    grep -q "^$name=" "$file" ||
        printf '%s=%s\n' "$name" "$(head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n')" >>"$file"
done
for service in $(grep -o 'SETTINGS_FILE:-.env}\.[a-z_]*' "$compose" | cut -d. -f3); do
    prefix=$(printf '%s_' "$service" | tr a-z A-Z)
    # Its logins it is given by name; the ports are the host's.
    grep "^$prefix" "$file" | grep -vE '^[A-Z_]*_(DB_PASSWORD|S3_SECRET|KAFKA_PASSWORD|METRICS_PORT)=' \
        >"$file.$service" || true
done
