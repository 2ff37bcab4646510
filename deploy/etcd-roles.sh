#!/usr/bin/env bash
# Makes etcd's users and roles for Windlass, each with the rights it needs and no others (deploy/README.md has the table).
# Safe to run again.
#
#   etcd-roles.sh root PASSWORD_FILE                       the user root, without whom etcd switches no logins on
#   etcd-roles.sh scheduler USER PASSWORD_FILE             a user for schedulers
#   etcd-roles.sh worker USER PASSWORD_FILE                a user for any number of workers
#   etcd-roles.sh worker USER PASSWORD_FILE --id ID        a user for the one worker that is started with --id ID
#   etcd-roles.sh enable                                   switch logins on
#
# ETCDCTL   how to run etcdctl, with its options (default: etcdctl). Once logins are on, with those of root.
# PREFIX    what --prefix of the nodes says (default: nothing)
set -euo pipefail

read -ra etcdctl <<<"${ETCDCTL:-etcdctl}"
prefix=${PREFIX:-}

fail() {
    printf 'etcd-roles: %s\n' "$*" >&2
    exit 1
}

# What is there already is fine; every other failure is not.
ctl() {
    local said
    if said=$("${etcdctl[@]}" "$@" 2>&1); then return; fi
    case $said in
    *'already exists'*) ;;
    *) fail "etcdctl $1 $2: $said" ;;
    esac
}

user() {
    local name=$1 file=$2 role=$3
    [ -s "$file" ] || fail "$file holds no password"
    # etcdctl would take only what stands before the first blank.
    if head -n 1 "$file" | grep -q '[[:blank:]]'; then fail "the password in $file has blanks in it"; fi
    ctl role add "$role"
    head -n 1 "$file" | ctl user add "$name" --interactive=false
    ctl user grant-role "$name" "$role"
}

# Rights to what begins with a text, to one key, and to what lies between two.
below() { ctl role grant-permission "$role" "$1" "$prefix$2" --prefix; }
key() { ctl role grant-permission "$role" "$1" "$prefix$2"; }
between() { ctl role grant-permission "$role" "$1" "$prefix$2" "$prefix$3"; }

scheduler() {
    local role=windlass-scheduler folder
    user "$1" "$2" "$role"
    # One watch covers it all, and etcd grants a watch only below a single right that covers it. `0` follows `/`.
    between read /config/ /queues0
    for folder in config dead delayed locks nodes/scheduler queues; do below write "/$folder/"; done
    for folder in stats tasks unique; do below readwrite "/$folder/"; done
}

worker() {
    local name=$1 file=$2 id=${4:-} role=windlass-worker
    if [ -n "$id" ]; then role=windlass-worker-$id; fi
    user "$name" "$file" "$role"
    if [ -n "$id" ]; then
        key read "/config/nodes/$id"
        key readwrite "/nodes/worker/$id"
        key readwrite "/offers/$id"
        below readwrite "/stats/$id/"
        below readwrite "/queues/@$id/"
    else
        below read /config/nodes/
        below readwrite /nodes/worker/
        below readwrite /offers/
        below readwrite /stats/
        below readwrite /queues/@
    fi
    # Entries of all queues, and not what lies between them: `@` begins the claims of workers.
    between write /queues/ /queues/@
    between write /queues/A /queues0
    below write /dead/
    below write /delayed/
    below readwrite /tasks/
    # Locks of users, which handlers take, and not the janitor's, `@janitor`, which lies between.
    between readwrite /locks/ /locks/@
    between readwrite /locks/A /locks0
}

case "${1:-} $#" in
'root 2') user root "$2" root ;;
'scheduler 3') scheduler "$2" "$3" ;;
'worker 3') worker "$2" "$3" ;;
'worker 5')
    [ "$4" = --id ] || fail "knows no '$4'"
    worker "$2" "$3" --id "$5"
    ;;
'enable 1') ctl auth enable ;;
*)
    sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
