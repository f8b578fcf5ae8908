#!/bin/sh
# start.sh GIVEN WRITTEN ALERTMANAGER [OPTION]...
# Writes the configuration GIVEN to WRITTEN, with the receivers of the environment, and becomes
# Alertmanager, whose own configuration cannot read variables:
#
#                every alert                pages instead                escalated pages instead
#   webhook      ALERTMANAGER_WEBHOOK_URL   ALERTMANAGER_PAGE_URL        ALERTMANAGER_ESCALATION_URL
#   Slack        ALERTMANAGER_SLACK_URL     ALERTMANAGER_PAGE_SLACK_URL  ALERTMANAGER_ESCALATION_SLACK_URL
#   mail         ALERTMANAGER_MAIL_TO       ALERTMANAGER_PAGE_MAIL_TO    ALERTMANAGER_ESCALATION_MAIL_TO
#
# Where a column to the right is not set, the one to its left holds.
#   ALERTMANAGER_WEBHOOK_TOKEN  bearer token of webhooks, by which they know who calls
#   ALERTMANAGER_SMTP_HOST      host:port that takes mail; with ALERTMANAGER_SMTP_FROM, and
#                               ALERTMANAGER_SMTP_USERNAME and _PASSWORD where it wants a login
#   ALERTMANAGER_SMTP_TLS       false for a host without TLS
#   ALERTMANAGER_GROUP_WAIT, ALERTMANAGER_GROUP_INTERVAL  replace these two, such as 2s
set -eu
umask 077
given=$1 written=$2
shift 2

quoted() {
    printf "'%s'" "$(printf '%s' "$1" | sed "s/'/''/g")"
}

# receivers WEBHOOK SLACK MAIL
receivers() {
    if [ -n "$1" ]; then
        printf '    webhook_configs:\n      - url: %s\n' "$(quoted "$1")"
        if [ -n "${ALERTMANAGER_WEBHOOK_TOKEN:-}" ]; then
            printf '        http_config: {authorization: {credentials: %s}}\n' \
                "$(quoted "$ALERTMANAGER_WEBHOOK_TOKEN")"
        fi
    fi
    if [ -n "$2" ]; then
        printf '    slack_configs:\n      - api_url: %s\n        send_resolved: true\n' "$(quoted "$2")"
        printf '        title: "%s"\n' '[{{ .Status }}] {{ .CommonLabels.alertname }}'
        printf '        text: "%s"\n' '{{ range .Alerts }}{{ .Annotations.summary }} {{ .Annotations.runbook_url }}\n{{ end }}'
    fi
    if [ -n "$3" ]; then
        printf '    email_configs:\n      - to: %s\n        send_resolved: true\n' "$(quoted "$3")"
        printf '        smarthost: %s\n' "$(quoted "${ALERTMANAGER_SMTP_HOST:?is needed to send mail}")"
        printf '        from: %s\n' "$(quoted "${ALERTMANAGER_SMTP_FROM:?is needed to send mail}")"
        printf '        require_tls: %s\n' "${ALERTMANAGER_SMTP_TLS:-true}"
        if [ -n "${ALERTMANAGER_SMTP_USERNAME:-}" ]; then
            printf '        auth_username: %s\n' "$(quoted "$ALERTMANAGER_SMTP_USERNAME")"
            printf '        auth_password: %s\n' "$(quoted "${ALERTMANAGER_SMTP_PASSWORD:-}")"
        fi
    fi
}

webhook=${ALERTMANAGER_WEBHOOK_URL:-} slack=${ALERTMANAGER_SLACK_URL:-} mail=${ALERTMANAGER_MAIL_TO:-}
page_webhook=${ALERTMANAGER_PAGE_URL:-$webhook}
page_slack=${ALERTMANAGER_PAGE_SLACK_URL:-$slack}
page_mail=${ALERTMANAGER_PAGE_MAIL_TO:-$mail}

while IFS= read -r line; do
    case $line in
        "  group_wait: "*) printf '  group_wait: %s\n' "${ALERTMANAGER_GROUP_WAIT:-${line#*: }}" ;;
        "  group_interval: "*)
            printf '  group_interval: %s\n' "${ALERTMANAGER_GROUP_INTERVAL:-${line#*: }}"
            ;;
        *) printf '%s\n' "$line" ;;
    esac
    case $line in
        "  - name: default") receivers "$webhook" "$slack" "$mail" ;;
        "  - name: page") receivers "$page_webhook" "$page_slack" "$page_mail" ;;
        "  - name: escalation")
            receivers "${ALERTMANAGER_ESCALATION_URL:-$page_webhook}" \
                "${ALERTMANAGER_ESCALATION_SLACK_URL:-$page_slack}" \
                "${ALERTMANAGER_ESCALATION_MAIL_TO:-$page_mail}"
            ;;
    esac
done <"$given" >"$written"

exec "$@" "--config.file=$written"
