#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, each in a file of its own; keeps those that are there already.
# The folder is closed to others; the files inside must be readable, because the container's user is not you.
set -eu
umask 077
mkdir -p secrets
cd secrets

keep() { # name, content
    [ -e "$1" ] || printf '%s\n' "$2" >"$1"
    chmod 644 "$1"
}

random() { # bytes, as URL-safe base64
    head -c "$1" /dev/urandom | base64 | tr -d '\n' | tr '+/' '-_'
}

keep secret_key "$(random 48)"
keep field_keys "$(random 32)"
keep audit_key "$(random 48)"
keep postgres_password "$(random 24)"
keep database_url "postgresql://hygate:$(cat postgres_password)@postgres:5432/hygate"
keep stripe_key ""
keep stripe_webhook_secrets ""
keep smtp_password ""
echo "The secrets lie in secrets/. Write your Stripe key into stripe_key and the webhook's signing secret into"
echo "stripe_webhook_secrets. Keep copies of field_keys and audit_key: without them stored keys and"
echo "links are lost, and the audit log cannot be verified."
