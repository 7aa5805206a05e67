#!/bin/sh
# guardian's front: stands before the real runc in containerd's PATH, as a file named "runc".
#
# Every create, start, exec, kill and delete of every container on the host passes here, so it needs nothing but
# this shell and the real runc, and without a hold, ticket or holder it only looks at a few paths.
# What it keys on is the full container id; nothing else in the arguments is interpreted but --log.
#
# Exit status: the real runc's, or 1 with a JSON line in --log when a start is refused.

run=/run/guardian
libexec=/usr/libexec/docker-guardian

id='' command='' log='' root='' previous=''
for word; do
    case $previous in --log) log=$word ;; --root) root=$word ;; esac
    case $word in
    create | start | delete | exec | kill) [ -n "$command" ] || command=$word ;;
    *[!0-9a-f]*) ;;
    *) [ ${#word} -eq 64 ] && id=$word ;;
    esac
    previous=$word
done

# The first runc in the usual places: our own folder is none of them, so this cannot call itself.
real=''
for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
    if [ -x "$folder/runc" ]; then
        real=$folder/runc
        break
    fi
done
if [ -z "$real" ]; then
    echo 'guardian: no runc in the usual places' >&2
    exit 127
fi

# refuse MESSAGE: the form in which containerd reads a runtime's error (go-runc, getLastRuntimeError).
refuse() {
    case $1 in *[\\\"[:cntrl:]]*) set -- 'guardian: refused' ;; esac
    [ -n "$log" ] && printf '{"level":"error","msg":"%s"}\n' "$1" >>"$log"
    printf '%s\n' "$1" >&2
    exit 1
}

# end_holder: SIGKILL the holder, if that pid still is one.
end_holder() {
    pid='' name=''
    [ -r "$run/holders/$id/pid" ] && read -r pid <"$run/holders/$id/pid"
    [ -n "$pid" ] && [ -r "/proc/$pid/comm" ] && read -r name <"/proc/$pid/comm"
    [ "$name" = guardian-holder ] && kill -KILL "$pid"
}

if [ -n "$id" ]; then
    case $command in
    create)
        if [ -e "$run/tickets/$id" ]; then
            [ -s "$libexec/holder" ] || refuse 'guardian: the holder program is missing, the restore is refused'
            GUARDIAN_RUNC=$real exec "$libexec/holder" "$@"
        fi
        if [ -e "$run/holds/$id" ]; then
            message=''
            while IFS= read -r line; do
                case $line in message=*) message=${line#message=} ;; esac
            done <"$run/holds/$id"
            refuse "${message:-guardian: checkpoint pending, start held}"
        fi
        ;;
    start)
        if [ -d "$run/holders/$id" ] && ! [ -e "$run/holders/$id/running" ]; then
            [ -s "$libexec/holder" ] || refuse 'guardian: the holder program is missing, the restore is refused'
            GUARDIAN_RUNC=$real exec "$libexec/holder" "$@"
        fi
        ;;
    exec)
        # Between freeze and kill CRIU holds a thawed cgroup: a process that entered would not be in the image.
        [ -e "$run/frozen/$id" ] && refuse 'guardian: a checkpoint is being taken, exec is refused'
        ;;
    kill)
        # A holder without a container yet: ending the holder is all that can be meant.
        if [ -d "$run/holders/$id" ] && ! [ -e "$run/holders/$id/running" ]; then
            end_holder
            exit 0
        fi
        ;;
    delete)
        # A runc that was killed over a restore has left the container's root mounted here, and the real one's delete
        # would empty it.
        if [ -d "$root/$id/criu-root" ]; then
            while umount -l "$root/$id/criu-root" 2>/dev/null; do :; done
            rmdir "$root/$id/criu-root" || refuse 'guardian: the root of a half restored container is mounted, not deleted'
        fi
        # --force in two cases. A holder may have been killed and have left its container running (real runc refuses
        # that), or its container was never restored (real runc does not know it). And what a checkpoint has just killed
        # is still frozen for a moment: real runc refuses a paused container, and containerd keeps the dead task, which the
        # next start has to clear away (beside it, on Docker 26, restored containers with -i ended: supposed, their input).
        if [ -d "$run/holders/$id" ] || [ -e "$run/frozen/$id" ]; then
            for word; do
                shift
                set -- "$@" "$word"
                [ "$word" = delete ] && set -- "$@" --force
            done
        fi
        if [ -d "$run/holders/$id" ]; then
            "$real" "$@"
            status=$?
            end_holder
            rm -rf "$run/holders/$id"
            exit $status
        fi
        ;;
    esac
fi
exec "$real" "$@"
