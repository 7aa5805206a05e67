/*
 * ask: what a unit runs to have the worker do something, when Python may be half installed: the worker is resident.
 *
 * Usage: ask CONNECT_SECONDS CALL
 * CALL is sent as {"call":CALL,"plain":true} to the worker's socket. Answers, a line each:
 *   say TEXT     printed
 *   extend N     more time from systemd: EXTEND_TIMEOUT_USEC of N seconds (sd_notify(3))
 *   exit N       the exit status
 * A worker that ends before it has said `exit` was killed: the next one is asked again, which looks what was done. On
 * the way down systemd starts none any more; then one is started here, unless another unit has, and ends with our unit.
 * Exit status 75 when there is no worker within CONNECT_SECONDS, or three of them ended.
 */
#define _GNU_SOURCE
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { NO_WORKER = 75, TRIES = 3, NEXT_WORKER_SECONDS = 3 };

static int connect_path(const char *path, int type)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	int fd;

	if (length == 0 || length >= sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* connect_worker waits for the worker's socket to appear in /run/guardian. */
static int connect_worker(long seconds)
{
	long long end = monotonic_ms() + 1000 * seconds;
	int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	char events[4096];
	int fd;

	inotify_add_watch(watch, RUN_DIR, IN_CREATE | IN_MOVED_TO);
	while ((fd = connect_path(RUN_DIR "/worker.sock", SOCK_STREAM)) < 0) {
		struct pollfd event = {.fd = watch, .events = POLLIN};
		long long left = end - monotonic_ms();

		if (left <= 0)
			return -1;
		/* A socket file may be there before it listens: look again at the latest after 200 ms. */
		if (poll(&event, 1, left < 200 ? (int)left : 200) > 0 && read(watch, events, sizeof events) < 0)
			return -1;
	}
	close(watch);
	return fd;
}

static void extend(long seconds)
{
	const char *path = getenv("NOTIFY_SOCKET");
	char text[64];
	int fd = path ? connect_path(path, SOCK_DGRAM) : -1;

	if (fd < 0)
		return;
	snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%ld000000", seconds);
	if (write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "guardian: systemd did not take the extension\n");
	close(fd);
}

/* converse asks the worker behind `fd`; returns its exit status, or NO_WORKER where it ends over it. */
static int converse(int fd, const char *call)
{
	char line[4096];
	FILE *worker = fdopen(fd, "r+");

	if (!worker || fprintf(worker, "{\"call\":\"%s\",\"plain\":true}\n", call) < 0 || fflush(worker)) {
		fprintf(stderr, "guardian: the worker does not answer\n");
		return NO_WORKER;
	}
	while (fgets(line, sizeof line, worker)) {
		if (!strncmp(line, "say ", 4)) {
			fputs(line + 4, stdout);
			fflush(stdout);
		} else if (!strncmp(line, "extend ", 7)) {
			extend(strtol(line + 7, NULL, 10));
		} else if (!strncmp(line, "exit ", 5)) {
			return (int)strtol(line + 5, NULL, 10);
		}
	}
	fprintf(stderr, "guardian: the worker ended before the work was done\n");
	fclose(worker);
	return NO_WORKER;
}

static void start_worker(void)
{
	if (fork() == 0) {
		execl(LIBEXEC_DIR "/worker", "worker", "unless-there", (char *)NULL);
		_exit(127);
	}
}

int main(int argc, char **argv)
{
	long seconds;
	int fd, status;

	if (argc != 3 || strpbrk(argv[2], "\"\\\n")) {
		fprintf(stderr, "usage: ask CONNECT_SECONDS CALL\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	seconds = strtol(argv[1], NULL, 10);
	for (int tries = 0; tries < TRIES; tries++) {
		fd = connect_worker(tries ? NEXT_WORKER_SECONDS : seconds);
		if (fd < 0 && tries) {
			start_worker();
			fd = connect_worker(seconds);
		}
		if (fd < 0) {
			fprintf(stderr, "guardian: the worker does not answer\n");
			return NO_WORKER;
		}
		status = converse(fd, argv[2]);
		if (status != NO_WORKER)
			return status;
	}
	return NO_WORKER;
}
