#define _GNU_SOURCE
#include "connections.h"

#include "common.h"
#include "conntrack.h"
#include "fence.h"
#include "network.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILTER_SIZE = 1 << 17 };

static int is_empty(const char *path)
{
	struct stat found;

	return stat(path, &found) < 0 || found.st_size == 0;
}

/* put_back: in this process's namespace, which is the host's. Not before dockerd has attached the container: it clears
 * the entries of the address then (seen). */
static int put_back(const char *dir)
{
	char path[PATH_SIZE];

	return join_path(path, dir, "conntrack") < 0 ? -1 : put_back_entries(path);
}

/* close_lost destroys sockets in the container's namespace: their processes see an error instead of waiting for ever. */
static int close_lost(const char *dir, const char *pid)
{
	static char filter[FILTER_SIZE];
	char path[PATH_SIZE], namespace[64];
	pid_t child;
	int fd;

	if (join_path(path, dir, "closing") < 0)
		return -1;
	if (is_empty(path))
		return 0;
	if (read_small(path, filter, sizeof filter) <= 0)
		return -1;
	snprintf(namespace, sizeof namespace, "/proc/%.20s/ns/net", pid);
	fd = open(namespace, O_RDONLY | O_CLOEXEC);
	child = fd < 0 ? -1 : fork();
	if (child == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, 1);
		if (setns(fd, CLONE_NEWNET) == 0)
			execlp("ss", "ss", "--kill", "--tcp", "--no-header", filter, (char *)NULL);
		_exit(127);
	}
	close(fd);
	return wait_for(child);
}

void open_to_peers(const char *dir, const char *pid)
{
	const char *container = strrchr(dir, '/'), *failed = NULL;

	if (put_back(dir) < 0)
		failed = "conntrack entries could not be put back";
	if (close_lost(dir, pid) < 0)
		failed = "sockets could not be closed";
	/*
	 * Before anything runs: what a process sends at once would be dropped, and a connection just restored waits 3 s
	 * for its next try (seen). CRIU opens the network at the same place. The holder repeats it, if it fails here.
	 */
	if (unlock_network_of(pid) < 0)
		fprintf(stderr, "guardian: cannot unlock the network: %s\n", strerror(errno));
	if (container && fence_lift(container + 1) < 0)
		failed = "the fence could not be lifted, only time ends it";
	if (failed) {
		fprintf(stderr, "guardian: %s\n", failed);
		write_durable(dir, "connections-failed", failed);
	}
}
