#define _GNU_SOURCE
#include "restore.h"

#include "call.h"
#include "network.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONSOLE "console"

enum { LEAST_LOG = 65536, LOOK_LIMIT_MS = 10000, LEAST_MS = 500, SPENT_MS = 5000 };

/* own_cgroup is where this process is now, to come back to. */
int own_cgroup(char *out)
{
	char text[PATH_SIZE];
	const char *at;

	if (read_small("/proc/self/cgroup", text, sizeof text) <= 0 || !(at = strstr(text, "0::")))
		return -1;
	if (snprintf(out, PATH_SIZE, "/sys/fs/cgroup%.*s", (int)strcspn(at + 3, "\n"), at + 3) >= PATH_SIZE)
		return -1;
	return 0;
}

int enter_cgroup(const char *cgroup)
{
	char path[PATH_SIZE];

	return join_path(path, cgroup, "cgroup.procs") < 0 ? -1 : write_text(path, "0");
}

void kill_cgroup(void)
{
	char path[PATH_SIZE];

	if (join_path(path, ticket.cgroup, "cgroup.kill") == 0)
		write_text(path, "1");
}

/* wait_child waits for one child at most `limit_ms`; returns its wait status, or -1 at the limit. */
static int wait_child(pid_t child, int signals, long long limit_ms)
{
	long long end = monotonic_ms() + limit_ms;
	int status;

	for (;;) {
		struct signalfd_siginfo information;
		struct pollfd event = {.fd = signals, .events = POLLIN};
		long long left = end - monotonic_ms();
		pid_t done = waitpid(child, &status, WNOHANG);

		if (done == child)
			return status;
		if (done < 0 || left <= 0)
			return -1;
		if (poll(&event, 1, (int)left) > 0 && read(signals, &information, sizeof information) < 0)
			return -1;
	}
}

static void unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* prepare_bundle starts the program that makes config.json fit for a restore; it runs while dockerd attaches. */
pid_t prepare_bundle(void)
{
	char holder[16];
	pid_t child;

	snprintf(holder, sizeof holder, "%d", getpid());
	child = fork();
	if (child == 0) {
		execl("/usr/bin/python3", "python3", "-I", LIBEXEC_DIR "/bundle.py", call.bundle, call.dir,
		      ticket.own_network ? holder : "0", ticket.checkpoint, (char *)NULL);
		_exit(127);
	}
	return child;
}

/* has_room returns whether CRIU could write a log there. */
static int has_room(const char *dir)
{
	char path[PATH_SIZE];
	int fd, error;

	if (join_path(path, dir, "restore.log") < 0 ||
	    (fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
		return 0;
	error = posix_fallocate(fd, 0, LEAST_LOG);
	close(fd);
	return error == 0;
}

/*
 * work_folder makes the folder for CRIU to work in: beside the images, in memory where that disk is full, broken or
 * hangs. A child looks, which may hang there for ever.
 */
static int work_folder(char *work, int signals)
{
	pid_t child = fork();

	if (child == 0)
		_exit(join_path(work, ticket.checkpoint, "work-restore") == 0 && (mkdir(work, 0700) == 0 || errno == EEXIST) &&
		      has_room(work) ? 0 : 1);
	if (child > 0 && wait_child(child, signals, LOOK_LIMIT_MS) == 0)
		return join_path(work, ticket.checkpoint, "work-restore");
	return join_path(work, ticket.restore, "work-restore") == 0 && (mkdir(work, 0700) == 0 || errno == EEXIST) ? 0 : -1;
}

/* exec_restore becomes `runc restore`, in the original network namespace. */
static void __attribute__((noreturn)) exec_restore(int original_network, char *work)
{
	char image[PATH_SIZE], pid_file[PATH_SIZE], configuration[PATH_SIZE], console[PATH_SIZE];
	char *argv[2 * MAX_ARGUMENTS];
	int count = 0;
	char *rest, *flag;

	unblock_signals();
	if (ticket.own_network && setns(original_network, CLONE_NEWNET) < 0)
		_exit(126);
	write_text("/proc/self/oom_score_adj", ticket.oom);
	if (join_path(image, ticket.checkpoint, "img") < 0 || join_path(pid_file, call.dir, "init.pid") < 0 ||
	    join_path(configuration, ticket.restore, "restore.conf") < 0)
		_exit(126);
	setenv("CRIU_CONFIG_FILE", configuration, 1);
	setenv("GUARDIAN_RESTORE", ticket.restore, 1);
	setenv("GUARDIAN_CHECKPOINT", ticket.checkpoint, 1);
	argv[count++] = (char *)call.runc;
	for (int i = 0; i < call.globals_count; i++)
		argv[count++] = call.globals[i];
	argv[count++] = "restore";
	argv[count++] = "--detach";
	argv[count++] = "--no-subreaper";
	for (flag = strtok_r(ticket.flags, " ", &rest); flag && count < MAX_ARGUMENTS; flag = strtok_r(NULL, " ", &rest))
		argv[count++] = flag;
	argv[count++] = "--image-path";
	argv[count++] = image;
	argv[count++] = "--work-path";
	argv[count++] = work;
	argv[count++] = "--bundle";
	argv[count++] = (char *)call.bundle;
	argv[count++] = "--pid-file";
	argv[count++] = pid_file;
	if (call.console && join_path(console, call.dir, CONSOLE) == 0) {
		argv[count++] = "--console-socket";
		argv[count++] = console;
	}
	argv[count++] = (char *)call.id;
	argv[count] = NULL;
	execv(call.runc, argv);
	_exit(127);
}

/* run_runc runs the real runc's `update` with the limits that bundle.py had raised for CRIU's own processes. */
static int put_limits_back(int signals)
{
	char resources[PATH_SIZE];
	char *argv[MAX_ARGUMENTS + 8];
	int count = 0;
	pid_t child;

	if (join_path(resources, call.dir, "resources.json") < 0)
		return -1;
	if (access(resources, F_OK) < 0)
		return 0;
	argv[count++] = (char *)call.runc;
	for (int i = 0; i < call.globals_count; i++)
		argv[count++] = call.globals[i];
	argv[count++] = "update";
	argv[count++] = "--resources";
	argv[count++] = resources;
	argv[count++] = (char *)call.id;
	argv[count] = NULL;
	child = fork();
	if (child == 0) {
		unblock_signals();
		execv(call.runc, argv);
		_exit(127);
	}
	return wait_child(child, signals, 1000 * ticket.restore_seconds) == 0 ? 0 : -1;
}

/* apply_sysctls writes the lines "net/ipv4/NAME=VALUE" of `sysctls`: a restore does not re-apply them. */
static void apply_sysctls(void)
{
	char list[PATH_SIZE], text[TICKET_SIZE], path[PATH_SIZE];
	char *line, *rest;

	if (join_path(list, call.dir, "sysctls") < 0 || read_small(list, text, sizeof text) <= 0)
		return;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *value = strchr(line, '=');

		if (!value || strncmp(line, "net/", 4) || strstr(line, ".."))
			continue;
		*value++ = '\0';
		if (join_path(path, "/proc/sys", line) == 0 && write_text(path, value) < 0)
			fprintf(stderr, "guardian: cannot set %s: %s\n", line, strerror(errno));
	}
}

static pid_t read_init(void)
{
	char path[PATH_SIZE], text[32];

	if (join_path(path, call.dir, "init.pid") < 0 || read_small(path, text, sizeof text) <= 0)
		return -1;
	return (pid_t)strtol(text, NULL, 10);
}


static int listen_for_terminal(void)
{
	char path[PATH_SIZE];

	return join_path(path, call.dir, CONSOLE) < 0 ? -1 : terminal_listen(path);
}

/* unmount_root: a killed runc leaves the container's root mounted in its own folder, and `runc delete` empties that. */
static void unmount_root(void)
{
	char path[PATH_SIZE];

	if (!call.root || snprintf(path, sizeof path, "%s/%s/criu-root", call.root, call.id) >= (int)sizeof path)
		return;
	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		;
}

/* is_spent tells whether the image was let run: from then on nobody may restore it again. */
static int is_spent(void)
{
	char path[PATH_SIZE];

	return join_path(path, ticket.checkpoint, "ledger/spent") == 0 && access(path, F_OK) == 0;
}

/* time_left is what a step may take, in ms: its own limit, or what is left until `end`. */
static long long time_left(long long end)
{
	long long left = end - monotonic_ms(), most = 1000 * ticket.restore_seconds;

	return left < most ? left : most;
}

pid_t restore(pid_t preparing, const char *home, int original_network, int signals, long long end, char *reason)
{
	/* Python takes its time on a host that has just booted (30 s seen, emulated and overloaded). */
	int status = wait_child(preparing, signals, time_left(end));
	char work[PATH_SIZE];
	long long limit;
	pid_t child, init;

	if (status != 0) {
		snprintf(reason, ANSWER_SIZE, "the bundle could not be prepared (status %d)", status);
		return -1;
	}
	if (*home && enter_cgroup(home) == 0)
		rmdir(ticket.cgroup);
	if (ticket.own_network)
		apply_sysctls();
	if (call.console && listen_for_terminal() < 0) {
		snprintf(reason, ANSWER_SIZE, "the socket for its terminal could not be made: %s", strerror(errno));
		return -1;
	}
	if (work_folder(work, signals) < 0) {
		snprintf(reason, ANSWER_SIZE, "there is no folder for CRIU to work in: %s", strerror(errno));
		return -1;
	}
	limit = time_left(end);
	if (limit < LEAST_MS) {
		snprintf(reason, ANSWER_SIZE, "no time was left in the budget for its restore");
		return -1;
	}
	child = fork();
	if (child == 0)
		exec_restore(original_network, work);
	status = wait_child(child, signals, limit);
	/* It is about to run: a moment more costs less than its memory, which could not be restored again. */
	if (status < 0 && is_spent())
		status = wait_child(child, signals, SPENT_MS);
	if (status != 0) {
		unmount_root();
		/* CRIU sits in the container's cgroup (runc, criuApplyCgroups): this ends it, and then runc. */
		kill_cgroup();
		if (status < 0) {
			snprintf(reason, ANSWER_SIZE, "restore took longer than %lld s%s", (limit + 500) / 1000,
			         limit < 1000 * ticket.restore_seconds ? ", all that was left of the budget" : "");
			wait_child(child, signals, CREATE_LIMIT_MS);
		} else {
			/* A log in memory is gone when somebody reads this. */
			int kept = !strncmp(work, ticket.checkpoint, strlen(ticket.checkpoint));

			snprintf(reason, ANSWER_SIZE, "restore failed (status %d)%s%s%s",
			         WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), kept ? ", see " : "",
			         kept ? work : "", kept ? "/restore.log" : "");
		}
		return -1;
	}
	if (call.console && terminal_receive() < 0) {
		snprintf(reason, ANSWER_SIZE, "restored, but its terminal did not come");
		kill_cgroup();
		return -1;
	}
	init = read_init();
	if (init <= 0 || put_limits_back(signals) < 0 || (ticket.own_network && unlock_network() < 0)) {
		snprintf(reason, ANSWER_SIZE, "restored, but its limits or its network could not be put back");
		kill_cgroup();
		return -1;
	}
	return init;
}
