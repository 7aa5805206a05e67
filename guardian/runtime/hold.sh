#!/bin/sh
# Re-creates the holds from the ledger: for complete checkpoints made to be resumed, in a format known here.
# Run before docker.service at every boot. Needs /bin/sh only, so that a broken Python starts no container cold.
# `hold notice` only says what waits, where docker.service is not going to be started.
#
# `guardian=cold` on the kernel command line, or the file /var/lib/guardian/cold-once, makes this boot a cold one.

run=/run/guardian
state=/var/lib/guardian

if [ "$1" = notice ]; then
    case $(systemctl is-active docker.service) in active | activating | reloading) exit 0 ;; esac
fi
umask 077
mkdir -p $run/holds $run/tickets $run/holders $run/frozen $run/facts $run/dumps

cold='' taken=''
read -r command_line </proc/cmdline
case " $command_line " in *' guardian=cold '*) cold='the kernel command line says guardian=cold' ;; esac
if [ -e $state/cold-once ] && [ "$1" != notice ]; then
    cold='/var/lib/guardian/cold-once asked for it'
    rm -f $state/cold-once
fi

# Marks of `guardianctl next-boot cold`, made in another boot than this one: host/next_boot.py.
read -r boot </proc/sys/kernel/random/boot_id
for mark in $state/next-boot/*; do
    [ "$1" != notice ] && [ -e "$mark" ] || continue
    grep -qx "boot=$boot" "$mark" && continue
    [ "${mark##*/}" = all ] && cold='guardianctl next-boot cold asked for it'
    taken="$taken ${mark##*/}"
done

# has_ended FOLDER: whether the checkpoint must not be restored.
has_ended() {
    for mark in spent void tainted orphaned expired "done"; do
        [ -e "$1/ledger/$mark" ] && return 0
    done
    return 1
}

# value KEY FILE: what the line KEY=VALUE of a file says.
value() {
    while IFS= read -r line; do
        case $line in "$1="*) printf '%s\n' "${line#*=}" ;; esac
    done <"$2"
}

# look_elsewhere CHECKPOINT: sets `elsewhere` to why no host but another may run it, and the verdict of a move.
look_elsewhere() {
    elsewhere=''
    if [ -r "$1/ledger/departing" ]; then
        elsewhere="moved to $(value host "$1/ledger/departing" | tr -cd 'A-Za-z0-9@._:-'), start refused"
        verdict='' move=$(value move "$1/ledger/departing")
        case $move in '' | *[!0-9a-f]*) return ;; esac
        [ -r "$state/store/.moves/$move/verdict" ] && read -r verdict <"$state/store/.moves/$move/verdict"
    elif [ -e "$1/arrival" ] && ! [ -e "$1/ledger/arrived" ]; then
        elsewhere='its move to this host is undecided, start held; guardianctl migrate --resolve decides'
    fi
}

for checkpoint in $state/store/*/*/; do
    checkpoint=${checkpoint%/}
    verdict='' format='' purpose=''
    [ -r "$checkpoint/ledger/verdict" ] && read -r verdict <"$checkpoint/ledger/verdict"
    look_elsewhere "$checkpoint"
    [ -r "$checkpoint/format" ] && read -r format <"$checkpoint/format"
    [ -r "$checkpoint/purpose" ] && read -r purpose <"$checkpoint/purpose"
    [ "$verdict" = commit ] && [ "$format" = 1 ] && [ "$purpose" = suspend ] || continue
    has_ended "$checkpoint" && continue
    id=${checkpoint%/*}
    id=${id##*/}
    case $id in *[!0-9a-f]*) continue ;; esac
    [ ${#id} -eq 64 ] || continue
    if [ "$1" = notice ]; then
        [ -z "$elsewhere" ] || continue
        name=$(sed -n 's/^  "name": "\([A-Za-z0-9_.-]*\)",$/\1/p' "$checkpoint/record.json" | head -n 1)
        echo "guardian: ${name:-$id} waits to be restored, and docker is not started: systemctl start docker"
        continue
    fi
    why=$cold
    case " $taken " in *" $id "*) why='guardianctl next-boot cold asked for it' ;; esac
    if [ -n "$why" ] && [ -z "$elsewhere" ]; then
        printf 'format=1\nnote=%s\n' "$why" >"$checkpoint/ledger/.orphaned.$$" &&
            mv "$checkpoint/ledger/.orphaned.$$" "$checkpoint/ledger/orphaned"
        rm -f "$state/fence/$id"
        echo "guardian: ${id%"${id#????????????}"}: starts cold, $why"
        continue
    fi
    message='guardian: checkpoint pending, start held; guardianctl list shows it, guardianctl release --cold ends it'
    [ -z "$elsewhere" ] || message="guardian: $elsewhere"
    printf 'format=1\nmessage=%s\ncheckpoint=%s\n' "$message" "$checkpoint" >"$run/holds/.$id" &&
        mv "$run/holds/.$id" "$run/holds/$id"
    echo "guardian: ${id%"${id#????????????}"}: ${elsewhere:-held}"
done
# What starts cold is on the disk before the wish for it is gone.
[ -z "$taken" ] || sync
for mark in $taken; do
    rm -f "$state/next-boot/$mark"
done
[ "$1" = notice ] || [ -z "$cold$taken" ] || { /usr/libexec/docker-guardian/fence look; sync; }
exit 0
