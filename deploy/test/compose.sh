#!/usr/bin/env bash
# Tries the Compose files as a user would: from a clean copy of the tree, through their own client service, with
# containers killed in the middle of the work. Prints figures; fails when a task is lost or doubled. Bounded in time, and
# leaves no container, network or volume behind.
#
# Needs root on Docker's own machine: it kills processes of containers, as crashes do.
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
# What requests show where a token is asked for.
credential=()
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
    if [ "$result" -ne 0 ]; then
        tail -n 5 "$scratch/said" >&2 || true
        compose logs --no-color --tail 15 | cut -c 1-250 >&2 || true
    fi
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

# Submits so many tasks of a type through the client service. What is not acknowledged may have been accepted or not: it
# is submitted again, which a busy machine needs.
submit() {
    local wanted=$1 answer accepted=0 rounds
    for rounds in 1 2 3 4 5 6 7 8; do
        tasks "$((wanted - accepted))" "$2" "$3" >/dev/null
        answer=$(compose run --rm -T -v "$scratch/tasks.jsonl:/tasks.jsonl:ro" client \
            task submit --from /tasks.jsonl -o json </dev/null 2>>"$scratch/said") || true
        accepted=$((accepted + $(sed -n 's/.*"accepted": *\([0-9]*\).*/\1/p' <<<"$answer" | grep . || echo 0)))
        if [ "$accepted" -ge "$wanted" ]; then break; fi
    done
    [ "$accepted" -eq "$wanted" ] || fail "of $wanted tasks only $accepted were acknowledged"
    say "acknowledged $accepted tasks to the client, in $rounds goes"
}

# One count of tasks, from the API; -1 when nobody answers.
count() {
    local stats
    stats=$(curl -fsS -m 5 "${credential[@]}" "$api/api/v1/stats" 2>/dev/null | grep -oE '"tasks": *\{[^}]*\}') || stats=
    stats=$(grep -oE "\"$1\": *[0-9]+" <<<"$stats" | grep -oE '[0-9]+$') || stats=-1
    printf '%s\n' "$stats"
}

is_count() { [ "$(count "$1")" = "$2" ]; }
is_more_than() { [ "$(count "$1")" -gt "$2" ]; }

# A file of so many tasks of a type, one a line.
tasks() {
    seq "$1" | sed "s|.*|{\"type\":\"$2\",\"payload\":$3}|" >"$scratch/tasks.jsonl"
    chmod 644 "$scratch/tasks.jsonl"
    printf '%s\n' "$scratch/tasks.jsonl"
}

now() { date +%s%N; }
since() { awk -v from="$1" -v to="$(now)" 'BEGIN { printf "%.1f", (to - from) / 1e9 }'; }

# Submits tasks by HTTP, array by array, until $TASKS are acknowledged, and keeps the id of each. An array that is not
# answered may or may not have been accepted: it does not count.
acknowledged() {
    local array end=$((SECONDS + patience)) unanswered=0
    array=[$(tasks 250 sleep "$1" | xargs cat | paste -sd, -)]
    : >"$scratch/ids"
    while [ "$(wc -l <"$scratch/ids")" -lt "$TASKS" ]; do
        [ "$SECONDS" -lt "$end" ] || fail "only $(wc -l <"$scratch/ids") of $TASKS tasks were acknowledged within $patience s"
        if curl -fsS -m 20 "${credential[@]}" -H 'content-type: application/json' -d "$array" "$api/api/v1/tasks" >"$scratch/answer" 2>/dev/null; then
            grep -oE '"id": *"[^"]*"' "$scratch/answer" | grep -oE '[0-9a-f-]{36}' >>"$scratch/ids"
        else
            unanswered=$((unanswered + 1))
            sleep 0.3
        fi
    done
    say "acknowledged $(wc -l <"$scratch/ids") tasks; $unanswered requests failed meanwhile"
}

# Submits a load, calls a function that breaks things in the middle of it, and waits until all of it has completed.
load_with_faults() {
    local break_things=$1 begun before
    # Looked up before: on a busy machine that takes a while.
    victims=$(for service in $victims_of; do first_of "$service"; done)
    begun=$(now)
    before=$(count total)
    acknowledged "$2" &
    local submitting=$!
    within "$patience" 'the load is under way' is_more_than total "$((before + TASKS / 4))"
    [ "$(count completed)" -lt "$(count total)" ] || fail 'the load was over before anything could break'
    "$break_things"
    wait "$submitting" || fail 'the load was not acknowledged'
    within "$patience" 'all of it has completed' all_completed
    say "completed all after $(since "$begun") s"
    sort "$scratch/ids" >>"$scratch/all.ids"
}

all_completed() {
    local total
    total=$(count total)
    [ "$total" -gt 0 ] && is_count completed "$total"
}

# What the client says in the end: whatever was accepted has completed, and each task that was acknowledged is there.
nothing_is_lost() {
    local stats total lost
    stats=$(client stats -o json)
    total=$(count total)
    client task list --state completed --limit 1000000 -o json | grep -oE '"id": *"[^"]*"' | grep -oE '[0-9a-f-]{36}' | sort >"$scratch/listed"
    say "stats: $(grep -oE '"tasks": *\{[^}]*\}' <<<"$stats")"
    grep -qE "\"completed\": *$total[,}]" <<<"$stats" || fail "not all of $total tasks have completed"
    [ "$(uniq "$scratch/listed" | wc -l)" -eq "$total" ] || fail "$(wc -l <"$scratch/listed") tasks are listed as completed, and $total were accepted"
    lost=$(sort "$scratch/all.ids" | comm -23 - "$scratch/listed" | wc -l)
    [ "$lost" -eq 0 ] || fail "$lost acknowledged tasks are not there"
    say "nothing is lost: all $(wc -l <"$scratch/all.ids") tasks whose ids were told, and $total in all, are listed as completed"
}

break_one() {
    local victim
    for victim in $victims; do crash "$victim"; done
    say "killed a worker-1, a worker-2 and the scheduler"
}

try_one() {
    local begun total
    begun=$(now)
    compose up -d
    within "$patience" 'every service is healthy' all_healthy 5
    say "up and healthy after $(since "$begun") s"
    begun=$(now)
    submit "$TASKS" echo '{"hello":"world"}'
    say "submitted $TASKS tasks in $(since "$begun") s, the container's start included"
    within "$patience" 'all have completed' all_completed
    say "all completed after $(since "$begun") s"
    begun=$(now)
    compose up -d --scale worker-1=10
    within "$patience" 'all workers are healthy' all_healthy 14
    say "ten of worker-1, and every service healthy after $(since "$begun") s"
    victims_of='worker-1 worker-2 scheduler'
    load_with_faults break_one '{"ms":50}'
    within "$patience" 'what was killed is healthy again' all_healthy 14
    # Some of it runs and some of it waits when everything is taken down; none of it ends within the workers' grace.
    submit 300 sleep '{"ms":30000}'
    within "$patience" 'some of them run' is_more_than running 100
    total=$(count total)
    begun=$(now)
    compose down
    say "down after $(since "$begun") s, with 300 tasks or more unfinished"
    begun=$(now)
    compose up -d --scale worker-1=10
    within "$patience" 'every service is healthy again' all_healthy 14
    is_count total "$total" || fail "total is $(count total) after down and up, not $total"
    within "$patience" 'what was left has completed' is_count completed "$total"
    say "up again, and everything completed after $(since "$begun") s"
    nothing_is_lost
}

break_ha() {
    local etcd scheduler worker
    read -r etcd scheduler worker <<<"$(xargs <<<"$victims")"
    # Meant, so that they stay away.
    docker kill -s KILL "$etcd" "$scheduler" >/dev/null
    crash "$worker"
    say "killed etcd-2, scheduler-1 and a worker; the first two stay away"
}

try_ha() {
    local begun
    "$copy/deploy/ha/secrets.sh"
    credential=(-H "authorization: Bearer $(cat "$copy/deploy/ha/secrets/admin.token")")
    begun=$(now)
    compose up -d
    within "$patience" 'etcd is healthy' all_healthy 3 etcd-1 etcd-2 etcd-3
    COMPOSE=$COMPOSE "$copy/deploy/ha/users.sh"
    within "$patience" 'every service is healthy' all_healthy 9
    [ "$(curl -s -m 5 -o /dev/null -w '%{http_code}' "$api/api/v1/stats")" = 401 ] || fail 'the API asks for no token'
    say "up and healthy after $(since "$begun") s, logins, certificates and tokens on"
    COMPOSE=$COMPOSE "$copy/deploy/ha/users.sh"
    begun=$(now)
    submit "$TASKS" echo 1
    within "$patience" 'all have completed' all_completed
    say "submitted and completed $TASKS tasks in $(since "$begun") s, the container's start included"
    victims_of='etcd-2 scheduler-1 worker'
    load_with_faults break_ha '{"ms":2000}'
    nothing_is_lost
    compose up -d
    within "$patience" 'every service is healthy again' all_healthy 9
    say 'what was killed is back, and every service is healthy'
    nothing_is_lost
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
    touch "$scratch/all.ids"
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
