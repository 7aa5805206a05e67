/*
 * A tracer over CRIU. The processes that CRIU dumps are stopped by ptrace, and their cgroup is thawed, or CRIU's code in
 * them could not run: a CRIU that is killed lets them go at once, with their sockets in repair mode, and whoever is blocked
 * in recv(2) hears EPERM before anybody could freeze them (tcp_recvmsg). A dying process that is traced stands once more,
 * PTRACE_EVENT_EXIT, before it lets go of what it traces: then they are frozen, and whoever settles the dump heals the
 * sockets and thaws. Measured on 6.18: SIGKILL is followed by that stop, the processes of CRIU stand meanwhile.
 *
 * Where the tracer is killed, CRIU goes on as without it.
 *
 * Sources: ptrace(2); kernel/exit.c, do_exit (ptrace_event comes before exit_notify, which calls exit_ptrace).
 */
#define _GNU_SOURCE
#include "common.h"
#include "tracer.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* go_on answers one stop of CRIU as ptrace(2) wants it, so that signals arrive as if nobody were there. */
static void go_on(pid_t criu, int status, const char *freeze)
{
	int event = status >> 16, number = WSTOPSIG(status);
	unsigned long ending = 0;

	if (event == PTRACE_EVENT_STOP && (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU)) {
		ptrace(PTRACE_LISTEN, criu, NULL, NULL);
		return;
	}
	if (event == PTRACE_EVENT_EXIT && ptrace(PTRACE_GETEVENTMSG, criu, NULL, &ending) == 0 && WIFSIGNALED((int)ending))
		write_text(freeze, "1");
	ptrace(PTRACE_CONT, criu, NULL, (void *)(long)(event ? 0 : number));
}

static void trace(pid_t criu, const char *freeze, int begun)
{
	int status;

	prctl(PR_SET_NAME, "guardian-tracer");
	setsid();
	if (ptrace(PTRACE_SEIZE, criu, NULL, (void *)PTRACE_O_TRACEEXIT) < 0 || write(begun, "", 1) != 1)
		_exit(1);
	/* CRIU waits for the end of its scripts' output where it has a pipe for it. */
	close_range(0, ~0U, 0);
	while (waitpid(criu, &status, __WALL) == criu && WIFSTOPPED(status))
		go_on(criu, status, freeze);
	_exit(0);
}

int trace_criu(pid_t criu, const char *cgroup)
{
	char freeze[PATH_SIZE], answer;
	int begun[2], done;
	pid_t between;

	if (join_path(freeze, cgroup, "cgroup.freeze") < 0 || pipe2(begun, O_CLOEXEC) < 0)
		return -1;
	between = fork();
	if (between == 0) {
		/* Twice, so that it is nobody's child: CRIU and runc wait for theirs. */
		pid_t child = fork();

		if (child == 0)
			trace(criu, freeze, begun[1]);
		_exit(child < 0);
	}
	close(begun[1]);
	done = wait_for(between) == 0 && read(begun[0], &answer, 1) == 1;
	close(begun[0]);
	return done ? 0 : -1;
}
