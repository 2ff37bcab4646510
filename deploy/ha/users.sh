#!/usr/bin/env bash
# Makes the users of docker-compose.ha.yml in its etcd, with the rights that schedulers and workers need, and switches
# logins on. Once; when logins are on, it has nothing to do. COMPOSE says how to call Compose.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
secrets=$root/deploy/ha/secrets
export ETCDCTL="${COMPOSE:-docker-compose} -f $root/docker-compose.ha.yml exec -T etcd-1 /usr/local/bin/etcdctl
    --endpoints=https://127.0.0.1:2379 --cacert=/run/secrets/ca.pem --cert=/run/secrets/etcd.pem --key=/run/secrets/etcd.key"
ETCDCTL=$(tr '\n' ' ' <<<"$ETCDCTL")

if [ "$($ETCDCTL auth status | sed -n 's/^Authentication Status: //p')" = true ]; then
    echo 'users: logins are on already' >&2
    exit 0
fi
"$root/deploy/etcd-roles.sh" root "$secrets/root.password"
"$root/deploy/etcd-roles.sh" scheduler scheduler "$secrets/scheduler.password"
"$root/deploy/etcd-roles.sh" worker worker "$secrets/worker.password"
"$root/deploy/etcd-roles.sh" enable
