#!/bin/bash
# ready.sh HOST PORT: ends with 0 if the broker's metadata names a broker, as it does once the
# broker has joined its cluster. Bare bash: Kafka's own tools start a JVM, which as a health check
# costs more than all else of an idle stack.
set -eu
exec 3<>"/dev/tcp/$1/$2"
# Metadata, version 1: size, key and version, correlation, no client id, no topics.
printf '\0\0\0\16\0\3\0\1\0\0\0\1\377\377\0\0\0\0' >&3
# Size, correlation, number of brokers: four bytes each, the highest first.
read -ra bytes <<<"$(timeout 3 head -c 12 <&3 | od -An -tu1)"
[ "${bytes[11]:-0}" -gt 0 ]
