#define _GNU_SOURCE
#include "processes.h"

#include "common.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FIRST_FIELD_AFTER_NAME = 3 };

/* stat_field copies field `number` (1-based, proc(5)) of /proc/PID/stat; the name in parentheses may hold blanks. */
int stat_field(const char *stat, int number, char *out, size_t size)
{
	const char *at = strrchr(stat, ')');
	int field = FIRST_FIELD_AFTER_NAME;
	size_t length;

	if (!at || at[1] != ' ')
		return -1;
	for (at += 2; field < number; field++) {
		at = strchr(at, ' ');
		if (!at)
			return -1;
		at++;
	}
	length = strcspn(at, " \n");
	if (length == 0 || length >= size)
		return -1;
	memcpy(out, at, length);
	out[length] = '\0';
	return 0;
}

int read_stat(const char *pid, char *stat)
{
	char path[PATH_SIZE];

	if (snprintf(path, sizeof path, "/proc/%s/stat", pid) >= (int)sizeof path)
		return -1;
	return read_small(path, stat, STAT_SIZE) > 0 ? 0 : -1;
}

/* The first ancestor that is not a shell: CRIU starts its scripts through `sh -c`. */
pid_t criu_above(void)
{
	pid_t pid = getppid();
	char stat[STAT_SIZE], text[32], name[32];

	for (int depth = 0; depth < 3; depth++) {
		const char *open_mark, *close_mark;

		snprintf(text, sizeof text, "%d", pid);
		if (read_stat(text, stat) < 0)
			return -1;
		open_mark = strchr(stat, '(');
		close_mark = strrchr(stat, ')');
		if (!open_mark || !close_mark || (size_t)(close_mark - open_mark) >= sizeof name)
			return -1;
		memset(name, 0, sizeof name);
		memcpy(name, open_mark + 1, (size_t)(close_mark - open_mark - 1));
		if (strcmp(name, "sh") && strcmp(name, "dash") && strcmp(name, "bash"))
			return pid;
		if (stat_field(stat, 4, text, sizeof text) < 0)
			return -1;
		pid = (pid_t)strtol(text, NULL, 10);
	}
	return -1;
}

/* watch_criu has us end with CRIU and returns a pidfd of it, or -1. */
int watch_criu(void)
{
	pid_t criu = criu_above();
	int fd = criu > 0 ? (int)syscall(SYS_pidfd_open, criu, 0) : -1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0 || criu_above() != criu) {
		fprintf(stderr, "guardian: CRIU is not the parent\n");
		return -1;
	}
	return fd;
}

int watch_runc(void)
{
	char pid[32], stat[STAT_SIZE], parent[32];

	snprintf(pid, sizeof pid, "%d", criu_above());
	if (read_stat(pid, stat) < 0 || stat_field(stat, 4, parent, sizeof parent) < 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, (pid_t)strtol(parent, NULL, 10), 0);
}
