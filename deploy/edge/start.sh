#!/bin/sh
# start.sh CODE DATA: writes DATA/nginx.conf from CODE/nginx.conf and the environment, and becomes
# nginx. CODE is this folder, DATA one that nginx may write to. docs/edge.md tells the variables.
set -eu
umask 077
code=$1 data=$2
nginx=${EDGE_NGINX:-nginx}

refuse() { echo "edge: $1" >&2; exit 2; }
# $1 is a variable's name, $2 its value, $3 what it must be for grep -E.
check() { printf '%s' "$2" | grep -Eqx -- "$3" || refuse "$1 is not usable: '$2'"; }
need() { eval "[ -n \"\${$1:-}\" ]" || refuse "$1 is missing"; }

for name in EDGE_KEYS EDGE_S3_ACCESS_KEY EDGE_S3_SECRET_KEY; do need $name; done
export EDGE_KEYS EDGE_S3_ACCESS_KEY EDGE_S3_SECRET_KEY
export S3_REGION="${S3_REGION:-us-east-1}"
printf '%s' "$EDGE_KEYS" | grep -Eqx '[a-z0-9]{1,16}:[^,:]{32,}(,[a-z0-9]{1,16}:[^,:]{32,})*' ||
    refuse 'EDGE_KEYS must be id:secret, or several of these with commas between, with secrets of 32 characters or more'

listen=${EDGE_LISTEN:-0.0.0.0:8080}
internal=${EDGE_INTERNAL_LISTEN:-0.0.0.0:8081}
sign_api=${EDGE_SIGN_API:-sign_api:8080}
notifier=${EDGE_NOTIFIER:-notifier:8080}
# The address of the object store: http://host:port, or https://host.
storage=${EDGE_STORAGE:-http://minio:9000}
scheme=${storage%%://*} storage=${storage#*://}
storage=${storage%/}
case $scheme in http | https) ;; *) refuse "EDGE_STORAGE must begin with http:// or https://" ;; esac
case $storage in *:*) ;; *) [ "$scheme" = https ] && storage=$storage:443 || storage=$storage:80 ;; esac
for pair in "EDGE_LISTEN $listen" "EDGE_INTERNAL_LISTEN $internal" "EDGE_SIGN_API $sign_api" \
    "EDGE_NOTIFIER $notifier" "EDGE_STORAGE $storage"; do
    check "${pair%% *}" "${pair#* }" '[A-Za-z0-9_.-]+:[0-9]+'
done
prefix=${S3_BUCKET_PREFIX:-media-}
check S3_BUCKET_PREFIX "$prefix" '[a-z0-9][a-z0-9-]{0,20}'
per_address=${EDGE_CONNECTIONS_PER_ADDRESS:-512}
requests=${EDGE_REQUESTS_PER_SECOND:-300}
max_bytes=${MAX_UPLOAD_BYTES:-500000000}
cache_bytes=${EDGE_CACHE_BYTES:-1000000000}
for pair in "EDGE_CONNECTIONS_PER_ADDRESS $per_address" "EDGE_REQUESTS_PER_SECOND $requests" \
    "MAX_UPLOAD_BYTES $max_bytes" "EDGE_CACHE_BYTES $cache_bytes"; do
    check "${pair%% *}" "${pair#* }" '[1-9][0-9]*'
done
access_log=${EDGE_ACCESS_LOG:-/dev/stdout}

# As many connections as files may be open, two for each that is passed on.
files=$(ulimit -Hn)
[ "$files" = unlimited ] && files=131072
[ "$files" -gt 131072 ] && files=131072

# true where nginx is of this version or newer
nginx_version=$("$nginx" -v 2>&1 | sed -n 's|.*nginx/\([0-9.]*\).*|\1|p')
at_least() { [ "$(printf '%s\n%s\n' "$1" "$nginx_version" | sort -V | head -n 1)" = "$1" ]; }

resolver='' resolve=''
# A container that comes back may have another address: nginx looks its name up again.
if at_least 1.27.3 && [ -z "$(printf '%s' "$storage" | grep -Ex '[0-9.]+:[0-9]+')" ]; then
    server=$(sed -n 's/^nameserver \([0-9.]*\)$/\1/p' /etc/resolv.conf | head -n 1)
    [ -n "$server" ] && resolver="resolver $server valid=5s;" resolve=' resolve'
fi

tls='' ssl='' http2=''
if [ -n "${EDGE_TLS_CERTIFICATE:-}" ]; then
    need EDGE_TLS_CERTIFICATE_KEY
    check EDGE_TLS_CERTIFICATE "$EDGE_TLS_CERTIFICATE" '/[A-Za-z0-9_./-]+'
    check EDGE_TLS_CERTIFICATE_KEY "$EDGE_TLS_CERTIFICATE_KEY" '/[A-Za-z0-9_./-]+'
    ssl=' ssl'
    if at_least 1.25.1; then http2='http2 on; '; else ssl=' ssl http2'; fi
    tls="${http2}ssl_certificate $EDGE_TLS_CERTIFICATE; ssl_certificate_key $EDGE_TLS_CERTIFICATE_KEY; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:5m; ssl_session_timeout 1h;"
fi

real_ip=''
if [ -n "${EDGE_TRUSTED_PROXIES:-}" ]; then
    check EDGE_TRUSTED_PROXIES "$EDGE_TRUSTED_PROXIES" '[0-9a-fA-F.:/]+(,[0-9a-fA-F.:/]+)*'
    for range in $(printf '%s' "$EDGE_TRUSTED_PROXIES" | tr ',' ' '); do
        real_ip="${real_ip}set_real_ip_from $range; "
    done
    real_ip="${real_ip}real_ip_header X-Forwarded-For; real_ip_recursive on;"
fi

origins=''
for origin in $(printf '%s' "${CORS_ALLOW_ORIGINS:-}" | tr ',' ' '); do
    check CORS_ALLOW_ORIGINS "$origin" '\*|https?://[][A-Za-z0-9.:-]+'
    [ "$origin" = '*' ] && origins='~. "*"; ' && break
    origins="$origins\"$origin\" \"$origin\"; "
done

# Where links lead, if it is not here.
cdn=''
if [ -n "${CDN_BASE_URL:-}" ]; then
    check CDN_BASE_URL "$CDN_BASE_URL" 'https?://[][A-Za-z0-9.:-]+(/[A-Za-z0-9._~/-]*)?'
    cdn=" $(printf '%s' "$CDN_BASE_URL" | grep -Eo '^https?://[^/]+')"
fi

storage_tls=''
if [ "$scheme" = https ]; then
    authorities=${EDGE_STORAGE_CA:-/etc/ssl/certs/ca-certificates.crt}
    check EDGE_STORAGE_CA "$authorities" '/[A-Za-z0-9_./-]+'
    storage_tls="proxy_ssl_server_name on; proxy_ssl_name ${storage%:*}; proxy_ssl_verify on; proxy_ssl_trusted_certificate $authorities;"
fi

# What storage tells of itself is nobody's business, and what the edge says itself it says once.
storages_own=''
for name in Vary Strict-Transport-Security X-Xss-Protection X-Content-Type-Options \
    Content-Security-Policy X-Ratelimit-Limit X-Ratelimit-Remaining X-Amz-Id-2 X-Amz-Request-Id \
    X-Amz-Bucket-Region X-Amz-Version-Id X-Amz-Delete-Marker X-Amz-Expiration X-Amz-Tagging-Count \
    X-Amz-Replication-Status X-Amz-Restore X-Amz-Storage-Class X-Amz-Mp-Parts-Count \
    X-Amz-Object-Lock-Mode X-Amz-Object-Lock-Retain-Until-Date X-Amz-Object-Lock-Legal-Hold \
    X-Amz-Server-Side-Encryption X-Amz-Checksum-Type X-Minio-Deployment-Id X-Minio-Server-Status \
    X-Minio-Compressed X-Minio-Transition X-Minio-Version X-Amz-Meta-About; do
    storages_own="${storages_own}proxy_hide_header $name; "
done

user=''
[ "$(id -u)" = 0 ] && user="user ${EDGE_USER:-root};"
mime_types=${EDGE_MIME_TYPES:-/etc/nginx/mime.types}

mkdir -p "$data/tmp" "$data/cache" "$data/revoked/media" "$data/revoked/thumbnail"
# A link lives for a week at most, and so does what says that it is to end.
find "$data/revoked" -type f -mtime +8 -delete

# The page, under a name that is another one after each change. A tab that was open before loads
# the rest of what it began with, so that is kept for some days.
version=$(cd "$code/page" && find . -type f -exec sha256sum {} + | LC_ALL=C sort | sha256sum | cut -c 1-16)
mkdir -p "$data/page"
touch -c "$data/page/$version"
find "$data/page" -mindepth 1 -maxdepth 1 -type d -mtime +7 -exec rm -rf {} +
if [ ! -d "$data/page/$version" ]; then
    rm -rf "$data/page/new"
    cp -R "$code/page" "$data/page/new"
    gzip -9nk $(find "$data/page/new" -type f ! -name '*.txt')
    mv "$data/page/new" "$data/page/$version"
fi
sed -e "s/@VERSION@/$version/g" -e "s/@MAX_UPLOAD_BYTES@/$max_bytes/" "$code/page/index.html" >"$data/page/index.html"
gzip -9nkf "$data/page/index.html"

# Nothing but what is here, and no script or style but in files. A film comes through a blob; hls.js
# shows subtitles in a track that it begins with data:,WEBVTT.
policy="default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'$cdn; media-src 'self' blob: data:$cdn; connect-src 'self'$cdn; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
page_headers=''
while read -r name value; do
    page_headers="${page_headers}add_header $name \"$value\" always; "
done <<END
Content-Security-Policy $policy
X-Content-Type-Options nosniff
Referrer-Policy no-referrer
Cross-Origin-Opener-Policy same-origin
Cross-Origin-Resource-Policy same-origin
Permissions-Policy camera=(), geolocation=(), microphone=()
END

title_of() {
    case $1 in
        400) echo 'Bad Request' ;; 403) echo Forbidden ;; 404) echo 'Not Found' ;;
        405) echo 'Method Not Allowed' ;; 408) echo 'Request Timeout' ;; 409) echo Conflict ;;
        411) echo 'Length Required' ;; 413) echo 'Content Too Large' ;;
        416) echo 'Range Not Satisfiable' ;; 429) echo 'Too Many Requests' ;;
        431) echo 'Request Header Fields Too Large' ;; *) echo 'Service Unavailable' ;;
    esac
}

problems=$(while read -r name status code_ sentence; do
    printf '        location = /-/%s { internal; client_max_body_size 0; types { } default_type application/problem+json; ' "$name"
    case $status in 429 | 503) printf 'add_header Retry-After 5 always; ' ;; esac
    printf 'add_header Cache-Control no-store always; add_header X-Content-Type-Options nosniff always; '
    printf 'add_header Access-Control-Allow-Origin $cors_origin always; '
    title=$(title_of "$status")
    printf "return %s '{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%s,\"code\":\"%s\",\"detail\":\"%s\"}'; }\n" \
        "$status" "$title" "$status" "$code_" "$sentence"
done <"$code/problems")

# The values were checked above: none has a character that awk or nginx would take for more.
export user listen internal sign_api notifier storage scheme prefix per_address requests max_bytes \
    cache_bytes access_log files resolver resolve tls ssl storage_tls real_ip origins mime_types problems \
    storages_own page_headers code data
awk '
    BEGIN {
        value["USER"] = ENVIRON["user"]; value["DATA"] = ENVIRON["data"]
        value["CODE"] = ENVIRON["code"]; value["FILES"] = ENVIRON["files"]
        value["CONNECTIONS"] = int(ENVIRON["files"] / 2)
        value["MIME_TYPES"] = ENVIRON["mime_types"]; value["REAL_IP"] = ENVIRON["real_ip"]
        value["ACCESS_LOG"] = ENVIRON["access_log"] == "off" ? "off" : \
            ENVIRON["access_log"] " edge buffer=64k flush=1s"
        value["REQUESTS"] = ENVIRON["requests"]; value["BURST"] = 2 * ENVIRON["requests"]
        value["CORS_ORIGINS"] = ENVIRON["origins"]; value["CACHE_BYTES"] = ENVIRON["cache_bytes"]
        value["RESOLVER"] = ENVIRON["resolver"]
        value["SIGN_API"] = ENVIRON["sign_api"] ENVIRON["resolve"]
        value["NOTIFIER"] = ENVIRON["notifier"] ENVIRON["resolve"]
        value["STORAGE"] = ENVIRON["storage"] ENVIRON["resolve"]
        value["STORAGE_SCHEME"] = ENVIRON["scheme"]
        value["STORAGE_TLS"] = ENVIRON["storage_tls"]
        value["LISTEN"] = ENVIRON["listen"] ENVIRON["ssl"]
        value["INTERNAL_LISTEN"] = ENVIRON["internal"]; value["TLS"] = ENVIRON["tls"]
        value["CONNECTIONS_PER_ADDRESS"] = ENVIRON["per_address"]
        value["BUCKET_PREFIX"] = ENVIRON["prefix"]
        value["MAX_UPLOAD_BYTES"] = ENVIRON["max_bytes"]
        value["STORAGES_OWN"] = ENVIRON["storages_own"]
        value["PAGE_HEADERS"] = ENVIRON["page_headers"]
        value["PROBLEMS"] = ENVIRON["problems"]
    }
    {
        line = $0; out = ""
        while (match(line, /@[A-Z0-9_]+@/)) {
            name = substr(line, RSTART + 1, RLENGTH - 2)
            out = out substr(line, 1, RSTART - 1) value[name]
            line = substr(line, RSTART + RLENGTH)
        }
        print out line
    }' "$code/nginx.conf" >"$data/nginx.conf"

exec "$nginx" -c "$data/nginx.conf" -p "$data"
