/*
 * canary: a small process that is dumped and restored before any container is. It has a little of what containers have:
 * memory of its own and shared memory, a pipe and a socket pair with something in them, a TCP socket, a thread.
 *
 * Usage: canary FILE ; it writes "ready NUMBER" to standard output, NUMBER being known to its memory only, and closes
 * it. SIGTERM makes it look at everything, write "NUMBER good" or "NUMBER WHAT" (what is not as it was) to FILE, and end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned long long number;

struct traits {
	unsigned long long *shared;
	int pipe[2];
	int pair[2];
	int listening;
	pthread_t thread;
	int file;
};

/* answer waits in a thread of its own until it is asked, and answers with the number. */
static void *answer(void *argument)
{
	const int *pair = argument;
	unsigned long long asked;

	if (read(pair[1], &asked, sizeof asked) == sizeof asked && asked == number)
		return &number;
	return NULL;
}

static int begin(struct traits *its)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	if (getrandom(&number, sizeof number, 0) != sizeof number)
		return -1;
	its->shared = mmap(NULL, sizeof number, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (its->shared == MAP_FAILED)
		return -1;
	*its->shared = ~number;
	if (pipe2(its->pipe, O_CLOEXEC) || write(its->pipe[1], &number, sizeof number) != sizeof number)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, its->pair))
		return -1;
	/* A port of the kernel's choice, on loopback: nobody is to connect. */
	its->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (its->listening < 0 || bind(its->listening, (struct sockaddr *)&address, sizeof address) ||
	    listen(its->listening, 1))
		return -1;
	return pthread_create(&its->thread, NULL, answer, its->pair) ? -1 : 0;
}

/* lost names what is not as it was; NULL where everything is. */
static const char *lost(struct traits *its)
{
	unsigned long long seen = 0;
	struct sockaddr_in address;
	socklen_t length = sizeof address;
	void *answered = NULL;

	if (*its->shared != ~number)
		return "shared memory";
	if (read(its->pipe[0], &seen, sizeof seen) != sizeof seen || seen != number)
		return "a pipe";
	if (getsockname(its->listening, (struct sockaddr *)&address, &length) || !address.sin_port)
		return "a TCP socket";
	if (write(its->pair[0], &number, sizeof number) != sizeof number)
		return "a socket pair";
	if (pthread_join(its->thread, &answered) || !answered)
		return "a thread";
	return NULL;
}

int main(int argc, char **argv)
{
	struct traits its;
	const char *what;
	sigset_t asked;
	int null, got;

	if (argc != 2) {
		fprintf(stderr, "usage: canary FILE\n");
		return 2;
	}
	close_range(3, ~0U, 0); /* nothing of whoever started it is held: it might not be there, or not be for dumping */
	sigemptyset(&asked);
	sigaddset(&asked, SIGTERM);
	sigprocmask(SIG_BLOCK, &asked, NULL);
	its.file = open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (its.file < 0 || null < 0 || begin(&its)) {
		perror("canary");
		return 1;
	}
	printf("ready %llu\n", number);
	fflush(stdout);
	for (int standard = 0; standard < 3; standard++)
		dup2(null, standard);
	alarm(60); /* whatever becomes of whoever started it */
	while (sigwait(&asked, &got) != 0 || got != SIGTERM)
		;
	what = lost(&its);
	return dprintf(its.file, "%llu %s\n", number, what ? what : "good") > 0 ? 0 : 1;
}
