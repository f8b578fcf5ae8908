#!/bin/sh
# vendor.sh [FOLDER]: writes the modules of others into FOLDER (default: ../page/vendor), as npm has
# them. What it writes is kept under version control, so that a machine needs no npm to serve it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$here/../page/vendor}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/package-lock.json" "$work"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund >/dev/null)
mkdir -p "$into"
modules=$work/node_modules
# Browsers take modules by their type, and servers know that of .js alone.
cp "$modules/hls.js/dist/hls.min.mjs" "$into/hls.js"
cp "$modules/hls.js/LICENSE" "$into/hls.txt"
cp "$modules/thumbhash/thumbhash.js" "$into/thumbhash.js"
