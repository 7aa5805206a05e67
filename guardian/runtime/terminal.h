/*
 * A container's terminal. containerd's shim wants the master during `create`, CRIU has it only during the restore: so
 * the shim gets the master of a terminal of the holder's own, and the holder relays between its slave and the
 * restored master.
 */
#ifndef GUARDIAN_TERMINAL_H
#define GUARDIAN_TERMINAL_H

#include <sys/types.h>

/* terminal_open makes the holder's own terminal and sends its master to the shim's console socket; the terminal becomes
 * this session's. Also lets go of stdin, stdout and stderr: the shim waits for all who have them. Returns 0 or -1. */
int terminal_open(const char *console_socket);

/* terminal_listen makes the socket on which `runc restore` hands the restored master over; returns 0 or -1. */
int terminal_listen(const char *path);

/* terminal_receive takes the restored master from that socket; returns 0 or -1. */
int terminal_receive(void);

/* terminal_outlive relays until `init`, a child, has ended and everything it wrote is passed on; returns its status as
 * waitpid(2) gives it. Other children are waited for too. `signals` is a signalfd of SIGCHLD and SIGWINCH. */
int terminal_outlive(pid_t init, int signals);

#endif
