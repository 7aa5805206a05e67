#define _GNU_SOURCE
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { BUFFER_SIZE = 4096, DRAIN_MS = 1000 };

/* One direction of the relay. `from` and `to` are -1 once they have ended. */
struct way {
	int *from, *to;
	char buffer[BUFFER_SIZE];
	size_t start, length;
};

static int outer = -1, inner = -1, listening = -1;

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof address.sun_path)
		return -1;
	strcpy(address.sun_path, path);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* The message is a name and one descriptor (github.com/opencontainers/runc, libcontainer/utils/cmsg.go). */
static int send_descriptor(int to, const char *name, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec text = {.iov_base = (void *)name, .iov_len = strlen(name)};
	struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *part = CMSG_FIRSTHDR(&message);

	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(part), &fd, sizeof fd);
	return sendmsg(to, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int receive_descriptor(int from)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char name[4096];
	struct iovec text = {.iov_base = name, .iov_len = sizeof name};
	struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *part;
	int fd;

	if (recvmsg(from, &message, MSG_CMSG_CLOEXEC) < 0)
		return -1;
	part = CMSG_FIRSTHDR(&message);
	if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS || part->cmsg_len != CMSG_LEN(sizeof fd))
		return -1;
	memcpy(&fd, CMSG_DATA(part), sizeof fd);
	return fd;
}

static int no_wait(int fd)
{
	return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

int terminal_open(const char *console_socket)
{
	char name[64];
	struct termios raw;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int console = connect_to(console_socket);

	if (master < 0 || console < 0 || grantpt(master) < 0 || unlockpt(master) < 0 ||
	    ptsname_r(master, name, sizeof name) != 0)
		return -1;
	outer = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (outer < 0 || tcgetattr(outer, &raw) < 0)
		return -1;
	cfmakeraw(&raw);
	/* The controlling terminal, so that a change of its size reaches the holder as SIGWINCH. */
	if (tcsetattr(outer, TCSANOW, &raw) < 0 || ioctl(outer, TIOCSCTTY, 0) < 0 ||
	    send_descriptor(console, name, master) < 0 || no_wait(outer) < 0)
		return -1;
	close(console);
	close(master);
	for (int fd = 0; fd < 3; fd++) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (null < 0 || dup2(null, fd) < 0)
			return -1;
		close(null);
	}
	return 0;
}

int terminal_listen(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof address.sun_path)
		return -1;
	strcpy(address.sun_path, path);
	unlink(path);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof address) < 0 || listen(listening, 1) < 0 ? -1
	                                                                                                                    : 0;
}

/* forward_size gives the restored terminal the size of the holder's own, once anybody has set one. */
static void forward_size(void)
{
	struct winsize size;

	if (ioctl(outer, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		ioctl(inner, TIOCSWINSZ, &size);
}

int terminal_receive(void)
{
	struct winsize size, set;
	int from = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	inner = from < 0 ? -1 : receive_descriptor(from);
	close(from);
	close(listening);
	if (inner < 0 || no_wait(inner) < 0)
		return -1;
	/* What nobody has set yet is as it was; what dockerd has set since is what it is now. */
	if (ioctl(outer, TIOCGWINSZ, &set) == 0 && !set.ws_row && ioctl(inner, TIOCGWINSZ, &size) == 0)
		ioctl(outer, TIOCSWINSZ, &size);
	forward_size();
	return 0;
}

/* fill reads what there is; an end of the source ends the way. */
static void fill(struct way *way)
{
	ssize_t got = read(*way->from, way->buffer, sizeof way->buffer);

	way->start = 0;
	way->length = got > 0 ? (size_t)got : 0;
	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		*way->from = -1;
}

static void empty(struct way *way)
{
	ssize_t done = write(*way->to, way->buffer + way->start, way->length);

	if (done > 0) {
		way->start += (size_t)done;
		way->length -= (size_t)done;
	} else if (done < 0 && errno != EAGAIN && errno != EINTR) {
		*way->to = -1;
		way->length = 0;
	}
}

/* step waits for something to do and does it; returns how many descriptors were ready, 0 at the limit. */
static int step(struct way ways[2], int signals, int limit_ms)
{
	struct pollfd events[5] = {{.fd = signals, .events = POLLIN}};
	int ready;

	for (int i = 0; i < 2; i++) {
		struct way *way = &ways[i];

		events[1 + i] = (struct pollfd){.fd = way->length || *way->to < 0 ? -1 : *way->from, .events = POLLIN};
		events[3 + i] = (struct pollfd){.fd = way->length ? *way->to : -1, .events = POLLOUT};
	}
	ready = poll(events, 5, limit_ms);
	for (int i = 0; ready > 0 && i < 2; i++) {
		if (events[1 + i].revents)
			fill(&ways[i]);
		if (events[3 + i].revents)
			empty(&ways[i]);
	}
	return ready;
}

/* reap takes the signals that have come; returns whether `init` has ended. */
static int reap(pid_t init, int signals, int *status)
{
	struct signalfd_siginfo information;
	int ended = 0, one;
	pid_t done;

	while (read(signals, &information, sizeof information) == sizeof information)
		if (information.ssi_signo == SIGWINCH)
			forward_size();
	while ((done = waitpid(-1, &one, WNOHANG)) > 0) {
		if (done == init && (WIFEXITED(one) || WIFSIGNALED(one))) {
			*status = one;
			ended = 1;
		}
	}
	return ended;
}

int terminal_outlive(pid_t init, int signals)
{
	static struct way ways[2];
	int status = 0;

	ways[0] = (struct way){.from = &inner, .to = &outer};
	ways[1] = (struct way){.from = &outer, .to = &inner};
	while (!reap(init, signals, &status))
		step(ways, signals, -1);
	/* What it wrote last is still to be read; the end of it is an error of the master (EIO). */
	while ((inner >= 0 || ways[0].length) && outer >= 0 && step(ways, -1, DRAIN_MS) > 0)
		;
	return status;
}
