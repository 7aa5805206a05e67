/* What the holder does when dockerd says `start`. */
#ifndef GUARDIAN_RESTORE_H
#define GUARDIAN_RESTORE_H

#include <sys/types.h>

/* own_cgroup writes the path of the cgroup this process is in to `out` (PATH_SIZE); returns 0 or -1. */
int own_cgroup(char *out);

/* enter_cgroup moves this process; returns 0 or -1. */
int enter_cgroup(const char *cgroup);

/* kill_cgroup ends every process of the container: after a failed restore, the next start would else say
 * `container's cgroup is not empty`. */
void kill_cgroup(void);

/* prepare_bundle starts the program that makes config.json fit for a restore; returns its pid or -1. */
pid_t prepare_bundle(void);

/* restore runs `runc restore` and puts limits and network back. `home` is the cgroup to go back to first (empty: none),
 * `signals` a signalfd of SIGCHLD, `end` the monotonic ms when the budget is over. Returns init's pid, or -1 with the
 * reason in `reason` (ANSWER_SIZE). */
pid_t restore(pid_t preparing, const char *home, int original_network, int signals, long long end, char *reason);

#endif
