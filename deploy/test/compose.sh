#!/usr/bin/env bash
# Tries the Compose files as a user would: from a clean copy of the tree, through their own client service, with
# containers killed in the middle of the work. Prints figures; fails when a task is lost or doubled. Bounded in time, and
# leaves no container, network or volume behind.
#
#   compose.sh one     docker-compose.yml
#   compose.sh ha      docker-compose.ha.yml
#
# COMPOSE   how to call Compose (default: docker-compose, else docker compose)
# TASKS     how many tasks one load is
# KEEP_IMAGE  try the image windlass:local that is there, instead of building it
# PATIENCE  how many seconds anything may take
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
which=${1:-}
patience=${PATIENCE:-300}
# Not where somebody's own Windlass or etcd may listen.
export WINDLASS_BIND=${WINDLASS_BIND:-127.0.70.70}
export COMPOSE_PROJECT_NAME=windlass-try-$$
export COMPOSE_HTTP_TIMEOUT=300
api=http://$WINDLASS_BIND:7070
scratch=

say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }
fail() {
    say "FAILED: $*"
    exit 1
}

compose() { ${COMPOSE:?} -f "$file" "$@"; }

clean_up() {
    local result=$?
    trap - EXIT
    if [ "$result" -ne 0 ]; then compose logs --no-color --tail 15 >&2 || true; fi
    compose down -v --remove-orphans --timeout 5 >/dev/null 2>&1 || say "could not clean up the project $COMPOSE_PROJECT_NAME"
    rm -rf "$scratch"
    exit "$result"
}

# Tries a command until it succeeds.
within() {
    local seconds=$1 what=$2 end
    shift 2
    end=$((SECONDS + seconds))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || fail "not within $seconds s: $what"
        sleep 0.3
    done
}

containers() { compose ps -q "$@"; }

# Every container of these services, or of all, runs and is healthy, and there are as many as said.
all_healthy() {
    local count=$1 seen=0 container
    shift
    for container in $(containers "$@"); do
        [ "$(docker inspect -f '{{.State.Running}} {{.State.Health.Status}}' "$container")" = 'true healthy' ] || return 1
        seen=$((seen + 1))
    done
    [ "$seen" -eq "$count" ]
}

# As a crash would end it: Docker does not know that it was meant.
crash() {
    local container=$1
    kill -9 "$(docker inspect -f '{{.State.Pid}}' "$container")"
}

first_of() { containers "$1" | head -n 1; }

client() { compose run --rm -T client "$@" </dev/null 2>>"$scratch/said"; }

# Submits a file of tasks through the client service, and prints how many were acknowledged.
submit() {
    local answer
    answer=$(compose run --rm -T -v "$1:/tasks.jsonl:ro" client task submit --from /tasks.jsonl -o json </dev/null 2>>"$scratch/said") || true
    sed -n 's/.*"accepted": *\([0-9]*\).*/\1/p' <<<"$answer"
}

# One count of tasks, from the API; -1 when nobody answers.
count() {
    local stats
    stats=$(curl -fsS -m 5 "$api/api/v1/stats" 2>/dev/null | grep -oE '"tasks": *\{[^}]*\}') || stats=
    stats=$(grep -oE "\"$1\": *[0-9]+" <<<"$stats" | grep -oE '[0-9]+$') || stats=-1
    printf '%s\n' "$stats"
}

is_count() { [ "$(count "$1")" = "$2" ]; }
is_more_than() { [ "$(count "$1")" -gt "$2" ]; }

tasks() {
    local prefix=$1 kind=$2 more=$3 number
    for number in $(seq "$TASKS"); do
        printf '{"type":"%s","payload":%s,"key":"%s-%s","name":"%s-%s"}\n' "$kind" "$more" "$prefix" "$number" "$prefix" "$number"
    done >"$scratch/$prefix.jsonl"
    chmod 644 "$scratch/$prefix.jsonl"
    printf '%s\n' "$scratch/$prefix.jsonl"
}

# What the client says in the end: everything that was ever accepted has completed, each task once.
everything_completed() {
    local expected=$1 stats listed
    stats=$(client stats -o json)
    listed=$(client task list --state completed --limit 1000000 -o json | grep -oE '"id"' | wc -l)
    say "stats: $(grep -oE '"tasks": *\{[^}]*\}' <<<"$stats"); task list: $listed completed"
    grep -qE "\"total\": *$expected[,}]" <<<"$stats" || fail "total is not $expected: a task was lost or doubled"
    grep -qE "\"completed\": *$expected[,}]" <<<"$stats" || fail "completed is not $expected"
    [ "$listed" -eq "$expected" ] || fail "$listed tasks are listed as completed, not $expected"
}

now() { date +%s%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f", (to - from) / 1e9 }'; }

# Submits a load, and while it is under way calls a function that breaks things; then submits it again under the same
# keys, so that what nobody acknowledged is there once, and waits until all of it has completed.
load_with_faults() {
    local file_of_tasks=$1 before=$2 break_things=$3 acknowledged begun
    begun=$(now)
    submit "$file_of_tasks" >"$scratch/acknowledged" &
    local submitting=$!
    within "$patience" 'the load is under way' is_more_than total "$((before + TASKS / 20))"
    "$break_things"
    wait "$submitting"
    acknowledged=$(cat "$scratch/acknowledged")
    say "acknowledged through the faults: ${acknowledged:-none} of $TASKS"
    within "$patience" 'the API is back' is_more_than total 0
    acknowledged=$(submit "$file_of_tasks")
    [ "$acknowledged" = "$TASKS" ] || fail "submitted again, only ${acknowledged:-none} of $TASKS were acknowledged"
    within "$patience" 'all have completed' is_count completed "$((before + TASKS))"
    say "$TASKS tasks completed through the faults after $(since "$begun") s"
}

break_one() {
    local worker
    for worker in worker-1 worker-2; do crash "$(first_of "$worker")"; done
    crash "$(first_of scheduler)"
    say "killed a worker-1, a worker-2 and the scheduler"
}

try_one() {
    local begun plain faulty rest total
    begun=$(now)
    compose up -d
    within "$patience" 'every service is healthy' all_healthy 5
    say "up and healthy after $(since "$begun") s"
    plain=$(tasks plain echo '{"hello":"world"}')
    begun=$(now)
    [ "$(submit "$plain")" = "$TASKS" ] || fail "not all of $TASKS tasks were acknowledged"
    say "submitted $TASKS tasks in $(since "$begun") s, the container's start included"
    within "$patience" 'all have completed' is_count completed "$TASKS"
    say "all completed after $(since "$begun") s"
    begun=$(now)
    compose up -d --scale worker-1=10
    within "$patience" 'all workers are healthy' all_healthy 14
    say "ten of worker-1, and every service healthy after $(since "$begun") s"
    faulty=$(tasks faulty sleep '{"ms":50}')
    load_with_faults "$faulty" "$TASKS" break_one
    within "$patience" 'what was killed is healthy again' all_healthy 14
    # Some of it runs and some of it waits when everything is taken down; none of it ends within the workers' grace.
    rest=$(TASKS=300 tasks rest sleep '{"ms":30000}')
    [ "$(submit "$rest")" = 300 ] || fail "not all of 300 tasks were acknowledged"
    within "$patience" 'some of them run' is_more_than running 100
    total=$((2 * TASKS + 300))
    is_count total "$total" || fail "total is $(count total), not $total"
    begun=$(now)
    compose down
    say "down after $(since "$begun") s, with 300 tasks unfinished"
    begun=$(now)
    compose up -d --scale worker-1=10
    within "$patience" 'every service is healthy again' all_healthy 14
    is_count total "$total" || fail "total is $(count total) after down and up, not $total"
    within "$patience" 'what was left has completed' is_count completed "$total"
    say "up again, and everything completed after $(since "$begun") s"
    everything_completed "$total"
}

break_ha() {
    # Meant, so that they stay away.
    docker kill -s KILL "$(first_of etcd-2)" "$(first_of scheduler-1)" >/dev/null
    crash "$(first_of worker)"
    say "killed etcd-2, scheduler-1 and a worker; the first two stay away"
}

try_ha() {
    local begun load
    "$copy/deploy/ha/secrets.sh"
    begun=$(now)
    compose up -d
    within "$patience" 'etcd is healthy' all_healthy 3 etcd-1 etcd-2 etcd-3
    COMPOSE=$COMPOSE "$copy/deploy/ha/users.sh"
    within "$patience" 'every service is healthy' all_healthy 9
    say "up and healthy after $(since "$begun") s, logins and certificates on"
    COMPOSE=$COMPOSE "$copy/deploy/ha/users.sh"
    load=$(tasks load sleep '{"ms":200}')
    load_with_faults "$load" 0 break_ha
    everything_completed "$TASKS"
    compose up -d
    within "$patience" 'every service is healthy again' all_healthy 9
    say 'what was killed is back, and every service is healthy'
    everything_completed "$TASKS"
}

build() {
    local begun
    begun=$(now)
    if [ -n "${KEEP_IMAGE:-}" ]; then
        say 'NOT BUILT: the image that is there is tried, as KEEP_IMAGE says'
    else
        compose build >"$scratch/build.log" 2>&1 || {
            tail -n 40 "$scratch/build.log" >&2
            fail 'the image does not build'
        }
        say "built in $(since "$begun") s"
    fi
    say "the image: $(docker image inspect -f '{{.Size}}' windlass:local | awk '{ printf "%.0f MB", $1 / 1e6 }')"
}

main() {
    case $which in
    one) file=docker-compose.yml TASKS=${TASKS:-10000} ;;
    ha) file=docker-compose.ha.yml TASKS=${TASKS:-1000} ;;
    *)
        sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
    esac
    if [ -z "${COMPOSE:-}" ]; then
        COMPOSE=docker-compose
        command -v docker-compose >/dev/null || COMPOSE='docker compose'
    fi
    $COMPOSE version >/dev/null 2>&1 || fail "there is no '$COMPOSE'"
    command -v curl >/dev/null || fail 'there is no curl'
    "$here/base-images.sh"
    scratch=$(mktemp -d)
    chmod 755 "$scratch"
    copy=$scratch/windlass
    mkdir "$copy"
    git -C "$root" ls-files -z --cached --others --exclude-standard | (cd "$root" && xargs -0 tar -cf - --) | tar -C "$copy" -xf -
    cd "$copy"
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    build
    "try_$which"
    say "passed: docker-compose file $file, $($COMPOSE version --short)"
}

main
