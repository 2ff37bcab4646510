#!/usr/bin/env bash
# Makes the users of docker-compose.ha.yml in its etcd, with the rights that schedulers and workers need, and switches
# logins on. Once; when logins are on, it has nothing to do. COMPOSE says how to call Compose.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
secrets=$root/deploy/ha/secrets

fail() {
    printf 'users: %s\n' "$*" >&2
    exit 1
}

container=$(cd "$root" && ${COMPOSE:-docker-compose} -f docker-compose.ha.yml ps -q etcd-1)
[ -n "$container" ] || fail 'etcd-1 does not run: start it first'
export ETCDCTL="docker exec -i $container /usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/run/secrets/ca.pem --cert=/run/secrets/etcd.pem --key=/run/secrets/etcd.key"

said=$($ETCDCTL auth status 2>&1) || true
case $said in
*'Authentication Status: false'*) ;;
*'Authentication Status: true'* | *'permission denied'*)
    echo 'users: logins are on already' >&2
    exit 0
    ;;
*) fail "$said" ;;
esac
# Whom etcd's own certificate names, for the health checks: somebody who may do nothing.
said=$($ETCDCTL user add etcd --no-password 2>&1) || [[ $said == *'already exists'* ]] || fail "$said"
"$root/deploy/etcd-roles.sh" root "$secrets/root.password"
"$root/deploy/etcd-roles.sh" scheduler scheduler "$secrets/scheduler.password"
"$root/deploy/etcd-roles.sh" worker worker "$secrets/worker.password"
"$root/deploy/etcd-roles.sh" enable
