#!/bin/sh
# Ends every hold but of containers that another host has or may have: the container is started cold, its checkpoint becomes an orphan, and the ledger says so.
# Run when guardian-restore.service has failed or has taken too long. Needs neither Python nor a docker client.

run=/run/guardian
reason='guardian did not restore it, the emergency unit started it'

# Without dockerd nothing can be started, and docker.socket would only wait for it: its next start restores.
systemctl --quiet is-active docker.service || exit 0

# First all of them, then the starts: one that hangs must not keep the others held.
ids=''
for hold in $run/holds/*; do
    [ -e "$hold" ] || continue
    id=${hold##*/}
    checkpoint=''
    while IFS= read -r line; do
        case $line in checkpoint=*) checkpoint=${line#checkpoint=} ;; esac
    done <"$hold"
    case $checkpoint in */.arrivals/*) continue ;; esac
    if [ -e "$checkpoint/ledger/departing" ] || { [ -e "$checkpoint/arrival" ] && ! [ -e "$checkpoint/ledger/arrived" ]; }; then
        echo "guardian: ${id%"${id#????????????}"}: not started, another host has it or may have it"
        continue
    fi
    # A holder that is restoring right now is no longer ours to judge: it has a limit of its own.
    rm -f "$run/tickets/$id"
    if [ -d "$checkpoint/ledger" ] && ! [ -e "$checkpoint/ledger/spent" ]; then
        printf 'format=1\nnote=%s\n' "$reason" >"$checkpoint/ledger/.orphaned.$$" &&
            mv "$checkpoint/ledger/.orphaned.$$" "$checkpoint/ledger/orphaned" && sync "$checkpoint/ledger"
    fi
    rm -f "$hold" "/var/lib/guardian/fence/$id"
    ids="$ids $id"
done
# A fence that does not answer is ended: its table goes with it.
/usr/libexec/docker-guardian/fence look || systemctl kill guardian-fence.service
for id in $ids; do
    /usr/libexec/docker-guardian/start 60 "$id" &
done
wait
exit 0
