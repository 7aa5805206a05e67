/*
 * start: `POST /containers/ID/start` to docker.sock, for each ID given. The emergency unit's: it needs neither Python
 * nor a docker client.
 *
 * Usage: start SECONDS ID... ; SECONDS is the limit for each. Exit status 0 when each was started or ran already.
 * Source: Docker Engine API, ContainerStart: 204 started, 304 already started.
 */
#define _GNU_SOURCE
#include "common.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_docker(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/docker.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static int start_one(const char *id, long seconds)
{
	char request[512], reply[512];
	int fd = connect_docker(), length, status = 0;
	struct pollfd event = {.fd = fd, .events = POLLIN};
	ssize_t got;

	if (fd < 0) {
		fprintf(stderr, "guardian: %.12s: docker.sock does not answer\n", id);
		return 1;
	}
	length = snprintf(request, sizeof request,
	                  "POST /containers/%s/start HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n"
	                  "Connection: close\r\n\r\n",
	                  id);
	if (length >= (int)sizeof request || write(fd, request, (size_t)length) != length) {
		close(fd);
		return 1;
	}
	if (poll(&event, 1, (int)(seconds * 1000)) > 0 && (got = read(fd, reply, sizeof reply - 1)) > 0) {
		reply[got] = '\0';
		sscanf(reply, "HTTP/%*s %d", &status);
	}
	close(fd);
	printf("guardian: %.12s: %s\n", id,
	       status == 204 || status == 304 ? "started cold" : status ? "docker refused the start" : "no answer in time");
	return status == 204 || status == 304 ? 0 : 1;
}

int main(int argc, char **argv)
{
	long seconds = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
	int failed = 0;

	if (argc < 3 || seconds < 1 || seconds > 600) {
		fprintf(stderr, "usage: start SECONDS ID...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		failed |= start_one(argv[i], seconds);
	return failed;
}
