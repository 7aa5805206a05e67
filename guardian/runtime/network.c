#define _GNU_SOURCE
#include "network.h"

#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* dockerd (28) announces an IPv6 address when it attaches it, and gives up the start when it cannot (seen). */
#define NEIGHBOURS "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept; "

/* What drops everything but loopback and who is who on the link, as the first to see a packet and so before any rule of anybody's. */
static const char LOCK_RULES[] =
	"table inet guardian_lock {\n"
	" chain in { type filter hook input priority -400; policy drop; iifname \"lo\" accept; " NEIGHBOURS "}\n"
	" chain out { type filter hook output priority -400; policy drop; oifname \"lo\" accept; " NEIGHBOURS "}\n"
	"}\n";

/* Adding before deleting makes the deletion succeed where there is nothing to delete. */
static const char UNLOCK_RULES[] = "table inet guardian_lock { }\ndelete table inet guardian_lock\n";

/* run_with_input runs a program with `input` on its standard input and returns its wait status, or -1. */
static int run_with_input(const char *const *argv, const char *input)
{
	int pipe_ends[2], status;
	pid_t child;

	if (pipe2(pipe_ends, O_CLOEXEC) < 0)
		return -1;
	child = fork();
	if (child == 0) {
		dup2(pipe_ends[0], 0);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(pipe_ends[0]);
	if (child < 0 || write(pipe_ends[1], input, strlen(input)) < 0) {
		close(pipe_ends[1]);
		return -1;
	}
	close(pipe_ends[1]);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

static int nft(const char *rules)
{
	static const char *const argv[] = {"nft", "-f", "-", NULL};

	return run_with_input(argv, rules) == 0 ? 0 : -1;
}

static int loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result;

	if (fd < 0)
		return -1;
	result = ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return result;
}

int enter_locked_network(void)
{
	return unshare(CLONE_NEWNET) < 0 || loopback_up() < 0 || nft(LOCK_RULES) < 0 ? -1 : 0;
}

int unlock_network(void)
{
	return nft(UNLOCK_RULES);
}

int unlock_network_of(const char *pid)
{
	char path[64];
	struct stat own, other;
	int namespace;
	pid_t child;

	snprintf(path, sizeof path, "/proc/%.20s/ns/net", pid);
	if (stat(path, &other) < 0 || stat("/proc/self/ns/net", &own) < 0)
		return -1;
	if (own.st_ino == other.st_ino)
		return 0;
	namespace = open(path, O_RDONLY | O_CLOEXEC);
	child = namespace < 0 ? -1 : fork();
	if (child == 0)
		_exit(setns(namespace, CLONE_NEWNET) == 0 && unlock_network() == 0 ? 0 : 1);
	close(namespace);
	return wait_for(child);
}
