#!/bin/sh
# env.sh FILE [NAME=VALUE…]: writes the variables that docker-compose.yml cannot do without into
# FILE, as random secrets, and those given. What FILE has already stays: volumes were made with it.
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
