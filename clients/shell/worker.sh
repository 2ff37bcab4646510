#!/usr/bin/env bash
# A Windlass worker for one command at a time, with curl and jq: the protocol of docs/guide/src/protocol.md.
#
#   WINDLASS_SERVER=http://127.0.0.1:7070 worker.sh TYPE COMMAND [WORD…]
#
# Each task of that type runs the command: its payload on stdin, its result on stdout (JSON, or else a string), a failure
# by any exit code but 0, with the end of stderr as its error. WINDLASS_TASK_ID, WINDLASS_FENCE and WINDLASS_ATTEMPT are in
# its environment. It runs in a process group of its own, which is killed when it is to stop. SIGTERM lets it finish.
# WINDLASS_SERVER may name several servers, WINDLASS_TTL the session (10s), WINDLASS_TOKEN what the servers ask for.
set -uo pipefail

[ $# -ge 2 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }
types=$1
shift
IFS=, read -ra servers <<<"${WINDLASS_SERVER:-http://127.0.0.1:7070}"
dir=$(mktemp -d)
leaving=
runner=
trap 'leaving=yes' TERM INT
trap '[ -z "$runner" ] || kill -KILL -- "-$runner" 2>/dev/null; rm -rf "$dir"' EXIT
set -m # every background command has a process group of its own

now_ms() { date +%s%3N; }

# Asks a gateway, and sets `answer`; a body of @ is read from stdin. The next one is asked when this one does not answer. 3: the session
# is over. Not for a command substitution: what that changes is forgotten.
call() { # PATH BODY SECONDS
    local code
    code=$({ [ "$2" = @ ] && cat || printf '%s' "$2"; } | curl -sS --max-time "$3" -o "$dir/answer" -w '%{http_code}' -X POST \
        -H 'content-type: application/json' ${WINDLASS_TOKEN:+-H "authorization: Bearer $WINDLASS_TOKEN"} \
        --data-binary @- "${servers[0]%/}/api/v1/$1" 2>/dev/null)
    case $code in
    200 | 201) answer=$(<"$dir/answer") ;;
    410) return 3 ;;
    *)
        servers=("${servers[@]:1}" "${servers[0]}")
        return 1
        ;;
    esac
}

# The session lasts from when the call was sent that renewed it.
renewed() { # SENT ANSWER
    until_ms=$(jq -r --argjson sent "$1" '$sent + .ttl_ms - .margin_ms' <<<"$2")
    every_ms=$(jq -r .beat_every_ms <<<"$2")
}

join() {
    local sent
    until [ -n "$leaving" ]; do
        sent=$(now_ms)
        if call workers "$(jq -nc --arg types "$types" --arg ttl "${WINDLASS_TTL:-10s}" \
            '{types: ($types | split(",")), slots: 1, ttl: $ttl, version: "shell/1"}')" 10; then
            id=$(jq -r .id <<<"$answer")
            token=$(jq -r .token <<<"$answer")
            held='[]'
            renewed "$sent" "$answer"
            return 0
        fi
        sleep 0.2
    done
    return 1
}

# Beats. Sets `reason` when the attempt that is held must stop.
beat() {
    local sent body
    sent=$(now_ms)
    body=$(jq -nc --arg token "$token" --argjson held "$held" --arg leaving "$leaving" \
        '{token: $token, held: $held, leaving: ($leaving != "")}')
    call "workers/$id/beat" "$body" 2 || return $?
    renewed "$sent" "$answer"
    reason=$(jq -r '.stops[0].reason // empty' <<<"$answer")
    beaten_ms=$sent
}

# Runs the command for a task, beats meanwhile, and sets `end` to how it ended. 3: the session is over.
run() { # TASK COMMAND…
    local task=$1 began timeout code why='' lost=0
    shift
    began=$(now_ms)
    timeout=$(jq -r .timeout_ms <<<"$task")
    jq -c .payload <<<"$task" >"$dir/in"
    WINDLASS_TYPE=$(jq -r .type <<<"$task") WINDLASS_TASK_ID=$(jq -r .id <<<"$task") \
        WINDLASS_FENCE=$(jq -r .fence <<<"$task") WINDLASS_ATTEMPT=$(jq -r .attempt <<<"$task") \
        "$@" <"$dir/in" >"$dir/out" 2>"$dir/err" &
    runner=$!
    while [ -z "$why" ] && kill -0 "$runner" 2>/dev/null; do
        sleep 0.05
        reason=
        if [ $(($(now_ms) - beaten_ms)) -ge "$every_ms" ]; then
            beat
            [ $? -ne 3 ] || lost=3
        fi
        if [ "$lost" -ne 0 ] || [ "$(now_ms)" -ge "$until_ms" ]; then
            why=fenced
        elif [ $(($(now_ms) - began)) -ge "$timeout" ]; then
            why=time_out
        else
            why=$reason
        fi
    done
    [ -z "$why" ] || kill -KILL -- "-$runner" 2>/dev/null
    wait "$runner" 2>/dev/null
    code=$?
    runner=
    case $why:$code in
    :0) jq -Rsc '{outcome: "completed", result: (if . == "" then null else (try fromjson catch .) end)}' "$dir/out" >"$dir/end" ;;
    fenced:* | shutdown:*) echo '{"outcome": "handed_back"}' >"$dir/end" ;;
    time_out:*) echo '{"outcome": "timed_out"}' >"$dir/end" ;;
    *) tail -c 2000 "$dir/err" | jq -Rsc --arg code "$code" \
        '{outcome: "failed", error: (if . == "" then "exit code " + $code else . end)}' >"$dir/end" ;;
    esac
    end=$(jq -c --argjson ran "$(($(now_ms) - began))" 'if .outcome == "handed_back" then . else . + {ran_ms: $ran} end' "$dir/end")
    return "$lost"
}

# Reports how the attempt that is held ended, until somebody knows. 3: the session is over.
report() { # END
    local status code
    jq -c --arg token "$token" --argjson held "$held" '{token: $token, results: [$held[0] + .]}' <<<"$1" >"$dir/report"
    while :; do
        call "workers/$id/done" @ "$(((every_ms * 3 + 999) / 1000))" <"$dir/report"
        code=$?
        [ "$code" -ne 3 ] || return 3
        status=$(jq -r '.results[0].status // empty' <<<"$answer")
        case $code:$status in
        0:recorded | 0:stale) break ;;
        0:refused)
            jq -c --arg token "$token" --argjson held "$held" --arg error "the result is refused: $answer" -n \
                '{token: $token, results: [$held[0] + {outcome: "failed", error: $error, fatal: true}]}' >"$dir/report"
            ;;
        *)
            sleep 0.2
            beat || [ $? -ne 3 ] || return 3
            ;;
        esac
    done
    held='[]'
}

# One session, to its end.
session() { # COMMAND…
    local news tasks task body
    reason=
    beaten_ms=0
    while :; do
        beat || { [ $? -ne 3 ] || return 3; sleep 0.2; continue; }
        if [ -n "$leaving" ]; then
            call "workers/$id/leave" "$(jq -nc --arg token "$token" '{token: $token}')" 5
            return 0
        fi
        body=$(jq -nc --arg token "$token" --arg wait "${every_ms}ms" '{token: $token, wait: $wait, max: 1}')
        # A silent gateway is left before it costs the session.
        call "workers/$id/fetch" "$body" "$(((every_ms * 2 + 1999) / 1000))" || { [ $? -ne 3 ] || return 3; continue; }
        news=$answer
        [ "$(jq '.tasks | length' <<<"$news")" -gt 0 ] || continue
        task=$(jq -c '.tasks[0]' <<<"$news")
        held=$(jq -c '[{id, fence}]' <<<"$task")
        if [ "$(now_ms)" -ge "$until_ms" ] || [ -n "$leaving" ] || jq -e '.draining or .tasks[0].stop != null' <<<"$news" >/dev/null; then
            end='{"outcome": "handed_back"}'
        else
            run "$task" "$@" || return 3
        fi
        report "$end" || return 3
    done
}

while join; do
    session "$@" && break
done
exit 0
