#!/bin/bash
# ready.sh HOST PORT: ends with 0 if the broker lets its administrator in, whose password is
# ADMIN_PASSWORD, and its metadata names a broker, as it does once the broker has joined its
# cluster. Bare bash: Kafka's own tools start a JVM, which as a health check costs more than all
# else of an idle stack.
set -eu
exec 3<>"/dev/tcp/$1/$2"
login=$((1 + 5 + 1 + ${#ADMIN_PASSWORD}))  # NUL, admin, NUL, password
# Each request: size, key and version, correlation, no client id. SaslHandshake with the mechanism;
# SaslAuthenticate with the length of the login, and it; Metadata, version 1, of no topics.
{
    printf '\0\0\0\21\0\21\0\1\0\0\0\1\377\377\0\5PLAIN'
    printf "$(printf '\\0\\0\\0\\%03o\\0\\44\\0\\0\\0\\0\\0\\2\\377\\377\\0\\0\\0\\%03o' \
        $((14 + login)) "$login")"
    printf '\0admin\0%s' "$ADMIN_PASSWORD"
    printf '\0\0\0\16\0\3\0\1\0\0\0\3\377\377\0\0\0\0'
} >&3
# The answers: 36 bytes of the mechanisms; 16 of the login, after size and correlation an error in
# two of them; of the metadata the first twelve: size, correlation, number of brokers.
read -ra bytes <<<"$(timeout 3 head -c 64 <&3 | od -An -v -tu1 | tr '\n' ' ')"
[ "${bytes[45]:-1}" -eq 0 ] && [ "${bytes[63]:-0}" -gt 0 ]
