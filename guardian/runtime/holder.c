/*
 * holder: what a `create` with a ticket becomes. Called by the front with the runtime's own arguments.
 *
 * create: take the ticket, fork the holder, answer when its namespace is locked. dockerd then attaches interfaces to
 *         /proc/HOLDER/ns/net.
 * start:  tell the holder to restore, answer with what became of it.
 *
 * The holder is the pid that dockerd knows. It restores with the real runc, keeps the container's network namespace
 * locked until everything is back, becomes the container's parent and ends with its status. Files, all in
 * /run/guardian/holders/ID: ticket, pid, socket, gate (a FIFO the worker writes to), init.pid, resources.json,
 * sysctls, running.
 */
#define _GNU_SOURCE
#include "call.h"
#include "network.h"
#include "restore.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", call.dir, name) >= (int)sizeof address.sun_path)
		return -1;
	unlink(address.sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4) < 0)
		return -1;
	return fd;
}

/* open_gate makes the FIFO the worker opens; read and write, so that it never reports end of file. */
static int open_gate(void)
{
	char path[PATH_SIZE];

	if (join_path(path, call.dir, "gate") < 0)
		return -1;
	unlink(path);
	if (mkfifo(path, 0600) < 0)
		return -1;
	return open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

/* look_like joins init's namespaces, so that `nsenter -t State.Pid` shows the container. */
static void look_like(pid_t init)
{
	static const char *const kinds[] = {"ipc", "uts", "mnt"};
	char path[PATH_SIZE];
	int fds[3];

	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "/proc/%d/ns/%s", init, kinds[i]);
		fds[i] = open(path, O_RDONLY | O_CLOEXEC);
	}
	for (int i = 0; i < 3; i++) {
		if (fds[i] >= 0) {
			setns(fds[i], 0);
			close(fds[i]);
		}
	}
}

/*
 * guard forks a process that ends the container when the holder is killed: dockerd waits for the container's output
 * to end, and so would never come to `delete`. It ends with the container.
 */
static void guard(pid_t init)
{
	int holder = (int)syscall(SYS_pidfd_open, getpid(), 0);
	int container = (int)syscall(SYS_pidfd_open, init, 0);
	struct pollfd events[2] = {{.fd = holder, .events = POLLIN}, {.fd = container, .events = POLLIN}};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t all;

	if (fork() != 0) {
		close(holder);
		close(container);
		close(null);
		return;
	}
	prctl(PR_SET_NAME, "guardian-guard");
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	while (poll(events, 2, -1) < 0 && errno == EINTR)
		;
	if (!events[1].revents)
		kill_cgroup();
	_exit(0);
}

static int wait_for_end(pid_t init)
{
	int status;

	for (;;) {
		pid_t done = waitpid(-1, &status, 0);

		if (done < 0 && errno != EINTR)
			_exit(125);
		if (done == init && (WIFEXITED(status) || WIFSIGNALED(status)))
			return status;
	}
}

/* outlive waits for everything that becomes ours and ends with init's status, as containerd counts it. */
static void __attribute__((noreturn)) outlive(pid_t init, int signals)
{
	sigset_t all;
	int status;

	/* Nothing but SIGKILL may end the holder before its container; the container gets its signals itself. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	status = call.console ? terminal_outlive(init, signals) : wait_for_end(init);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void answer(int fd, const char *text)
{
	ssize_t ignored = write(fd, text, strlen(text));

	(void)ignored;
	close(fd);
}

/* wait_start returns the connection of `start` once it is there and the gate is open, or -1 when the time is over. */
static int wait_start(int listening, int gate, long long end)
{
	int asking = -1, open_now = 0;

	while (asking < 0 || !open_now) {
		struct pollfd events[2] = {{.fd = asking < 0 ? listening : -1, .events = POLLIN},
		                           {.fd = open_now ? -1 : gate, .events = POLLIN}};
		long long left = end - monotonic_ms();

		if (left <= 0)
			break;
		if (poll(events, 2, (int)left) < 0 && errno != EINTR)
			break;
		if (events[0].revents)
			asking = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
		if (events[1].revents)
			open_now = 1;
	}
	if (asking >= 0 && !open_now) {
		answer(asking, "the budget was over before its dependencies, hooks and hashes were through\n");
		return -1;
	}
	return asking;
}

static void block_signals(int *signals)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* hold is the holder's life; `ready` tells the creating process that it may answer. */
static void __attribute__((noreturn)) hold(int ready)
{
	char home[PATH_SIZE], reason[ANSWER_SIZE];
	int original = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	long long end = monotonic_ms() + 1000 * ticket.gate_seconds;
	int listening, gate, signals, asking;
	pid_t preparing, init;

	setsid();
	prctl(PR_SET_NAME, "guardian-holder");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (original < 0)
		fail("cannot open the network namespace: %s", strerror(errno));
	if (ticket.own_network && enter_locked_network() < 0)
		fail("cannot make a locked network namespace: %s", strerror(errno));
	block_signals(&signals);
	preparing = prepare_bundle();
	listening = listen_at("socket");
	gate = open_gate();
	if (preparing < 0 || listening < 0 || gate < 0 || signals < 0)
		fail("cannot make the holder: %s", strerror(errno));
	/* containerd takes the cgroup for statistics and OOM events from this pid when create returns. */
	if (own_cgroup(home) < 0 || (mkdir(ticket.cgroup, 0755) < 0 && errno != EEXIST) || enter_cgroup(ticket.cgroup) < 0)
		home[0] = '\0';
	if (call.console && terminal_open(call.console) < 0)
		fail("cannot make a terminal: %s", strerror(errno));
	if (write(ready, "ready", 5) != 5)
		_exit(1);
	close(ready);
	asking = wait_start(listening, gate, end);
	if (asking < 0)
		_exit(125);
	init = restore(preparing, home, original, signals, end, reason);
	if (init < 0) {
		strncat(reason, "\n", sizeof reason - strlen(reason) - 1);
		answer(asking, reason);
		_exit(125);
	}
	write_durable(call.dir, "running", "format=1\n");
	close(original);
	close(listening);
	close(gate);
	guard(init);
	look_like(init);
	answer(asking, "ok\n");
	outlive(init, signals);
}

/* announce tells the worker that dockerd has the container's addresses now; nobody may be listening. */
static void announce(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = RUN_DIR "/created.sock"};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (sendto(fd, call.id, strlen(call.id), 0, (struct sockaddr *)&address, sizeof address) < 0 && errno != ENOENT)
		fprintf(stderr, "guardian: the worker was not told: %s\n", strerror(errno));
	close(fd);
}

static int create(void)
{
	char text[32];
	int pipe_ends[2];
	struct pollfd ready = {.events = POLLIN};
	pid_t holder;

	if (!call.bundle || !call.pid_file)
		fail("create without --bundle or --pid-file");
	take_ticket();
	if (pipe2(pipe_ends, O_CLOEXEC) < 0)
		fail("no pipe: %s", strerror(errno));
	holder = fork();
	if (holder < 0)
		fail("no process: %s", strerror(errno));
	if (holder == 0) {
		close(pipe_ends[0]);
		hold(pipe_ends[1]);
	}
	close(pipe_ends[1]);
	ready.fd = pipe_ends[0];
	if (poll(&ready, 1, CREATE_LIMIT_MS) <= 0 || read(pipe_ends[0], text, 5) != 5) {
		kill(holder, SIGKILL);
		fail("the holder did not get ready");
	}
	snprintf(text, sizeof text, "%d", holder);
	if (write_durable(call.dir, "pid", strcat(text, "\n")) < 0)
		fail("cannot write the holder's pid: %s", strerror(errno));
	snprintf(text, sizeof text, "%d", holder);
	{
		/* containerd reads it right after the exit: no need of a rename here, and the bundle is not ours. */
		int fd = open(call.pid_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		if (fd < 0 || write(fd, text, strlen(text)) < 0)
			fail("cannot write %s: %s", call.pid_file, strerror(errno));
		close(fd);
	}
	announce();
	return 0;
}

static int start(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char text[ANSWER_SIZE];
	ssize_t got;
	int fd;

	if (snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", call.dir) >= (int)sizeof address.sun_path)
		fail("path too long");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		fail("the holder is gone: %s", strerror(errno));
	/* No limit here: the holder has its own, and its end closes the connection. */
	got = read(fd, text, sizeof text - 1);
	if (got <= 0)
		fail("the holder ended before it had restored");
	text[got] = '\0';
	if (strcmp(text, "ok\n")) {
		text[strcspn(text, "\n")] = '\0';
		fail("%s", text);
	}
	return 0;
}

int main(int argc, char **argv)
{
	parse_call(argc, argv);
	if (!strcmp(call.command, "create"))
		return create();
	if (!strcmp(call.command, "start"))
		return start();
	fail("%s is not the holder's", call.command);
}
