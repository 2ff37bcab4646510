#!/usr/bin/env bash
# The stock types as a command of worker.sh: what `windlass conformance worker` asks of every worker under test.
#
#   windlass conformance worker -- clients/shell/worker.sh echo,sleep,fail clients/shell/stock.sh
set -euo pipefail
payload=$(cat)
case $WINDLASS_TYPE in
echo) printf '%s' "$payload" ;;
sleep) sleep "$(jq -r '(.ms // 0) / 1000' <<<"$payload")" ;;
fail)
    times=$(jq -r '.times // 1' <<<"$payload")
    [ "$WINDLASS_ATTEMPT" -gt "$times" ] || {
        echo "attempt $WINDLASS_ATTEMPT fails as ordered" >&2
        exit 1
    }
    ;;
esac
