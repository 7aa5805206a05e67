/*
 * commit: CRIU's action script, both ways. It alone decides, and what it decided is on disk before it exits.
 *
 * pre-dump: nothing is done yet. Have CRIU watched, so that its death in the middle lets nobody run (tracer.c).
 * post-dump: the image is complete and the processes stand still. Freeze them, tell the worker "dumped", wait for its
 * word, look once more whether CRIU and every task still live, and link(2) the prepared file onto `ledger/verdict`:
 * whoever links first has decided. Exit 0 lets CRIU kill; anything else makes it roll back.
 * post-restore: memory is back and nothing has run. Compare the address-space layout with the one of the dump, see that
 * whoever asked for the start still lives, write `proven` and `spent`, exit 0. CRIU kills what it made if this fails, and
 * the image stays good.
 * Two hosts: a container that departs has the verdict of its move, which all its members share; one that arrives waits
 * between `proven` and `spent` until its source has given it up (`ledger/arrived`).
 * Every other action: exit 0.
 *
 * Sources: CRIU criu/cr-dump.c (post-dump), criu/cr-restore.c (post-restore), criu/action-scripts.c; `pre-resume` is
 * not used because CRIU ignores its exit status.
 */
#define _GNU_SOURCE
#include "common.h"
#include "connections.h"
#include "processes.h"
#include "tracer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { FREEZE_LIMIT_MS = 5000 };

static void say(const char *what)
{
	fprintf(stderr, "guardian: %s: %s\n", what, strerror(errno));
}

static int is_frozen(const char *cgroup)
{
	char path[PATH_SIZE], events[256];

	if (join_path(path, cgroup, "cgroup.events") < 0 || read_small(path, events, sizeof events) < 0)
		return -1;
	return strstr(events, "frozen 1") != NULL;
}

/* freeze: CRIU thawed the cgroup when it had seized the tasks (criu/seize.c, freeze_processes). */
static int freeze(const char *cgroup)
{
	char path[PATH_SIZE], ignored[256];
	long long end = monotonic_ms() + FREEZE_LIMIT_MS;
	int fd, frozen;

	if (join_path(path, cgroup, "cgroup.freeze") < 0 || write_text(path, "1") < 0)
		return -1;
	if (join_path(path, cgroup, "cgroup.events") < 0)
		return -1;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	/* Read before each poll: kernfs wakes only for changes after the last read. */
	while ((frozen = is_frozen(cgroup)) == 0 && monotonic_ms() < end) {
		struct pollfd event = {.fd = fd, .events = POLLPRI};

		if (pread(fd, ignored, sizeof ignored, 0) < 0)
			break;
		if (is_frozen(cgroup) == 1)
			continue;
		poll(&event, 1, (int)(end - monotonic_ms()));
	}
	close(fd);
	errno = ETIMEDOUT;
	return frozen == 1 ? 0 : -1;
}

/* tasks_live compares a file of lines "PID STARTTIME" with what is there: none gone, none another, none dying. */
static int tasks_live(const char *dir, const char *name)
{
	static char tasks[1 << 20];
	char path[PATH_SIZE], stat[STAT_SIZE], state[8], started[32];
	char *line, *rest;

	if (join_path(path, dir, name) < 0 || read_small(path, tasks, sizeof tasks) <= 0)
		return 0;
	for (line = strtok_r(tasks, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		char *blank = strchr(line, ' ');

		if (!blank)
			return 0;
		*blank = '\0';
		if (read_stat(line, stat) < 0 || stat_field(stat, 3, state, sizeof state) < 0 ||
		    stat_field(stat, 22, started, sizeof started) < 0)
			return 0;
		if (strcmp(started, blank + 1) || *state == 'Z' || *state == 'X')
			return 0;
	}
	return 1;
}

static int connect_worker(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -1;
	return fd;
}

/* wait_word says how far it is and returns 1 where the answer is `wanted`; 0 for anything else, CRIU's end too. */
static int wait_word(const char *socket_path, const char *said, const char *wanted, int criu, long limit_ms)
{
	struct pollfd events[2] = {{.events = POLLIN}, {.fd = criu, .events = POLLIN}};
	long long end = monotonic_ms() + limit_ms;
	char word[16] = "";
	int fd = connect_worker(socket_path);

	if (fd < 0 || write(fd, said, strlen(said)) != (ssize_t)strlen(said)) {
		say("cannot reach whoever decides");
		return 0;
	}
	events[0].fd = fd;
	for (;;) {
		long long left = end - monotonic_ms();
		int ready = poll(events, 2, left > 0 ? (int)left : 0);

		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0 || events[1].revents)
			return 0;
		if (events[0].revents)
			break;
	}
	if (read(fd, word, sizeof word - 1) <= 0)
		return 0;
	return !strcmp(word, wanted);
}

/*
 * decide_move links the word onto the verdict of the move and returns the word that holds, or NULL. It is not taken back
 * where it cannot be fsynced: another member may have read it. Nobody tells the other host before an fsync has worked.
 */
static const char *decide_move(const char *dir, const char *word, char *decision)
{
	char prepared[PATH_SIZE], text[16];

	if (join_path(prepared, dir, word) < 0 || (link(prepared, decision) < 0 && errno != EEXIST)) {
		say("cannot write the verdict of the move");
		return NULL;
	}
	if (read_small(decision, text, sizeof text) <= 0)
		return NULL;
	*strrchr(decision, '/') = '\0';
	if (sync_dir(decision) < 0)
		say("cannot fsync the verdict of the move");
	return strcmp(text, "commit\n") ? "word.void" : "word.commit";
}

/* decide links the word onto `ledger/verdict` unless a verdict is there, and returns whether the verdict is commit. */
static int decide(const char *dir, const char *word, char *decision)
{
	char prepared[PATH_SIZE], taken_back[PATH_SIZE], verdict[PATH_SIZE], ledger[PATH_SIZE], text[16];

	if (*decision && !(word = decide_move(dir, word, decision)))
		return 0;
	if (join_path(prepared, dir, word) < 0 || join_path(taken_back, dir, "word.void") < 0 || join_path(ledger, dir, "ledger") < 0 ||
	    join_path(verdict, ledger, "verdict") < 0)
		return 0;
	if (link(prepared, verdict) < 0 && errno != EEXIST) {
		say("cannot write the verdict");
		return 0;
	}
	if (sync_dir(ledger) < 0 && !*decision) {
		/* Nobody has been killed yet and nobody reads the verdict before CRIU is gone: take it back. */
		say("cannot fsync the ledger");
		rename(taken_back, verdict);
		return 0;
	}
	return read_small(verdict, text, sizeof text) > 0 && !strcmp(text, "commit\n");
}

/* pre_dump never fails: without a tracer a CRIU that is killed costs connections, and that is all. */
static int pre_dump(const char *dir)
{
	char path[PATH_SIZE], facts[PATH_SIZE * 4], cgroup[PATH_SIZE];

	if (join_path(path, dir, "script") < 0 || read_small(path, facts, sizeof facts) <= 0 ||
	    value_of(facts, "cgroup", cgroup, sizeof cgroup) < 0 || trace_criu(criu_above(), cgroup) < 0)
		say("CRIU is not watched");
	return 0;
}

static int post_dump(const char *dir)
{
	char path[PATH_SIZE], facts[PATH_SIZE * 4], cgroup[PATH_SIZE], socket_path[PATH_SIZE], decision[PATH_SIZE] = "";
	int criu_fd = watch_criu();
	struct pollfd criu_ended = {.fd = criu_fd, .events = POLLIN};
	int commit;

	if (criu_fd < 0)
		return 1;
	if (join_path(path, dir, "script") < 0 || read_small(path, facts, sizeof facts) <= 0 ||
	    value_of(facts, "cgroup", cgroup, sizeof cgroup) < 0 ||
	    value_of(facts, "socket", socket_path, sizeof socket_path) < 0) {
		say("cannot read what the worker prepared");
		return 1;
	}
	if (value_of(facts, "decision", decision, sizeof decision) == 0 && *decision != '/') {
		say("the verdict of the move has no place");
		return 1;
	}
	if (freeze(cgroup) < 0) {
		say("cannot freeze");
		return 1;
	}
	commit = wait_word(socket_path, "dumped\n", "commit\n", criu_fd, 1000 * number_of(facts, "limit", 120));
	commit = commit && is_frozen(cgroup) == 1 && tasks_live(dir, "tasks") && poll(&criu_ended, 1, 0) == 0;
	return decide(dir, commit ? "word.commit" : "word.void", decision) ? 0 : 1;
}

/* proven compares start_code, start_stack and start_brk (fields 26, 28, 47 of proc(5) stat) with those of the dump. */
static int proven(const char *dir, const char *pid)
{
	char path[PATH_SIZE], proof[256], now[256], stat[STAT_SIZE], code[32], stack[32], brk[32];

	if (join_path(path, dir, "proof") < 0 || read_small(path, proof, sizeof proof) <= 0)
		return 0;
	if (!pid || read_stat(pid, stat) < 0 || stat_field(stat, 26, code, sizeof code) < 0 ||
	    stat_field(stat, 28, stack, sizeof stack) < 0 || stat_field(stat, 47, brk, sizeof brk) < 0)
		return 0;
	snprintf(now, sizeof now, "%s %s %s\n", code, stack, brk);
	return !strcmp(proof, now);
}

/* given_up returns whether the container is this host's to run: it was always here, or its source has said so. */
static int given_up(const char *dir, const char *ledger)
{
	char path[PATH_SIZE], facts[PATH_SIZE * 2], socket_path[PATH_SIZE], arrived[PATH_SIZE];

	if (join_path(path, dir, "arrival") < 0 || join_path(arrived, ledger, "arrived") < 0)
		return 0;
	if (access(path, F_OK) < 0)
		return errno == ENOENT;
	if (access(arrived, F_OK) == 0)
		return 1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read_small(path, facts, sizeof facts) <= 0 || value_of(facts, "socket", socket_path, sizeof socket_path) < 0)
		return 0;
	if (!wait_word(socket_path, "proven\n", "go\n", -1, 1000 * number_of(facts, "limit", 60)))
		return 0;
	return access(arrived, F_OK) == 0;
}

/* forbidden returns whether the ledger says that this image must not run, and says so. */
static int forbidden(const char *ledger)
{
	static const char *const forbidding[] = {"spent", "void", "orphaned", "expired", "tainted", "departing"};
	char path[PATH_SIZE];

	for (size_t i = 0; i < sizeof forbidding / sizeof *forbidding; i++) {
		if (join_path(path, ledger, forbidding[i]) < 0 || access(path, F_OK) == 0) {
			fprintf(stderr, "guardian: this image is %s\n", forbidding[i]);
			return 1;
		}
	}
	return 0;
}

/* mark_durable marks a state; on a full disk by a link to what the worker has prepared, which needs no block. */
static int mark_durable(const char *dir, const char *ledger, const char *name)
{
	char prepared[PATH_SIZE], path[PATH_SIZE];

	if (write_durable(ledger, name, "format=1\n") == 0)
		return 0;
	if ((errno != ENOSPC && errno != EDQUOT) || join_path(prepared, dir, "mark") < 0 ||
	    join_path(path, ledger, name) < 0 || (link(prepared, path) < 0 && errno != EEXIST))
		return -1;
	return sync_dir(ledger);
}

/* still_asked returns whether dockerd and containerd live, as the worker has noted them. */
static int still_asked(const char *restore)
{
	char path[PATH_SIZE], text[8];

	if (join_path(path, restore, "asking") < 0 || read_small(path, text, sizeof text) <= 0)
		return 1;
	return tasks_live(restore, "asking");
}

static int post_restore(const char *dir)
{
	const char *restore = getenv("GUARDIAN_RESTORE");
	char ledger[PATH_SIZE], verdict[PATH_SIZE], text[16];
	struct pollfd ended[2] = {{.events = POLLIN}, {.events = POLLIN}};

	if (!restore || join_path(ledger, dir, "ledger") < 0 || join_path(verdict, ledger, "verdict") < 0)
		return 1;
	ended[0].fd = watch_criu();
	ended[1].fd = watch_runc();
	if (ended[0].fd < 0 || ended[1].fd < 0)
		return 1;
	if (read_small(verdict, text, sizeof text) <= 0 || strcmp(text, "commit\n")) {
		fprintf(stderr, "guardian: this image was never committed\n");
		return 1;
	}
	if (forbidden(ledger))
		return 1;
	if (!proven(dir, getenv("CRTOOLS_INIT_PID"))) {
		fprintf(stderr, "guardian: what came back is not what was dumped\n");
		return 1;
	}
	if (mark_durable(dir, ledger, "proven") < 0) {
		say("cannot write the ledger");
		return 1;
	}
	if (!given_up(dir, ledger)) {
		fprintf(stderr, "guardian: the host that it comes from has not given it up\n");
		return 1;
	}
	/* The wait may have been long: somebody may have started it cold meanwhile. */
	if (forbidden(ledger))
		return 1;
	/* Without CRIU nothing is going to run, without runc it is ended; the image must not be lost for that. */
	if (poll(ended, 2, 0) != 0) {
		fprintf(stderr, "guardian: CRIU or runc has ended\n");
		return 1;
	}
	/* A start that nobody waits for any more ends in a container that dockerd does not know. */
	if (!still_asked(restore)) {
		fprintf(stderr, "guardian: dockerd or containerd has ended\n");
		return 1;
	}
	if (mark_durable(dir, ledger, "spent") < 0) {
		say("cannot write the ledger");
		return 1;
	}
	open_to_peers(restore, getenv("CRTOOLS_INIT_PID"));
	return 0;
}

int main(void)
{
	const char *action = getenv("CRTOOLS_SCRIPT_ACTION");
	const char *dir = getenv("GUARDIAN_CHECKPOINT");

	if (!action || (strcmp(action, "pre-dump") && strcmp(action, "post-dump") && strcmp(action, "post-restore")))
		return 0;
	if (!strcmp(action, "pre-dump"))
		return dir ? pre_dump(dir) : 0;
	if (!dir || *dir != '/') {
		fprintf(stderr, "guardian: GUARDIAN_CHECKPOINT is not set\n");
		return 1;
	}
	return strcmp(action, "post-dump") ? post_restore(dir) : post_dump(dir);
}
