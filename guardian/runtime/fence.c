/*
 * fence: drops what peers of absent containers send, so that this kernel does not answer them with a reset.
 *
 * A table with `flags owner` belongs to the netlink socket of this process: `nft flush ruleset`, nftables.service, ufw
 * and firewalld pass it by, and it goes with this process, which is the dead man's release (nft(8); measured).
 * What is fenced is told by the files in /var/lib/guardian/fence, one for each container:
 *
 *     format=1
 *     until=SECONDS                            since 1970; each packet's element has the rest of it as its timeout
 *     4|6 SOURCE PORT TARGET PORT              packets with exactly these are dropped
 *
 * Whoever changes a file connects to /run/guardian/fence.sock, sends a line and is answered "ok" once the kernel has
 * it. `fence look` does that for scripts. The whole is set anew each time, in one transaction, so nothing drifts.
 */
#define _GNU_SOURCE
#include "common.h"
#include "fence.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LINE_SIZE = 256, ANSWER_SIZE = 400, MOST_SECONDS = 86400, ASK_SECONDS = 10 };

/* Before conntrack (-200): what it saw of a connection without its translation would be in the way of the entry that
 * is put back. */
static const char RULES[] =
	"add table inet guardian_fence { flags owner; }\n"
	"add set inet guardian_fence four { type ipv4_addr . inet_service . ipv4_addr . inet_service; flags timeout; }\n"
	"add set inet guardian_fence six { type ipv6_addr . inet_service . ipv6_addr . inet_service; flags timeout; }\n"
	"add chain inet guardian_fence in { type filter hook prerouting priority -400; policy accept; }\n"
	"add chain inet guardian_fence out { type filter hook output priority -400; policy accept; }\n"
	"add rule inet guardian_fence in ip saddr . tcp sport . ip daddr . tcp dport @four counter drop\n"
	"add rule inet guardian_fence in ip6 saddr . tcp sport . ip6 daddr . tcp dport @six counter drop\n"
	"add rule inet guardian_fence out ip saddr . tcp sport . ip daddr . tcp dport @four counter drop\n"
	"add rule inet guardian_fence out ip6 saddr . tcp sport . ip6 daddr . tcp dport @six counter drop\n";

/* valid tells whether the five words are a flow: everything that reaches nft has passed here. */
static int valid(const char *family, const char *source, long source_port, const char *target, long target_port)
{
	unsigned char ignored[sizeof(struct in6_addr)];
	int kind = !strcmp(family, "4") ? AF_INET : !strcmp(family, "6") ? AF_INET6 : -1;

	return kind >= 0 && inet_pton(kind, source, ignored) == 1 && inet_pton(kind, target, ignored) == 1 &&
	       source_port > 0 && source_port < 65536 && target_port > 0 && target_port < 65536;
}

/* add_file writes the elements of one container's file as nft commands. */
static void add_file(FILE *commands, const char *name)
{
	char path[PATH_SIZE], line[LINE_SIZE], family[4], source[64], target[64];
	long source_port, target_port, left = 0;
	int format = 0;
	FILE *file;

	if (join_path(path, FENCE_DIR, name) < 0 || !(file = fopen(path, "re")))
		return;
	while (fgets(line, sizeof line, file)) {
		if (!strncmp(line, "format=", 7)) {
			format = atoi(line + 7);
		} else if (!strncmp(line, "until=", 6)) {
			long until = strtol(line + 6, NULL, 10), now = (long)time(NULL);

			left = until > now ? until - now : 0;
		} else if (format == FORMAT && left > 0 &&
		           sscanf(line, "%3s %63s %ld %63s %ld", family, source, &source_port, target, &target_port) == 5 &&
		           valid(family, source, source_port, target, target_port)) {
			fprintf(commands, "add element inet guardian_fence %s { %s . %ld . %s . %ld timeout %lds }\n",
			        *family == '4' ? "four" : "six", source, source_port, target, target_port,
			        left < MOST_SECONDS ? left : MOST_SECONDS);
		} else {
			fprintf(stderr, "guardian: fence of %.12s: a line is left out or its time is over\n", name);
		}
	}
	fclose(file);
}

/* look brings the sets to what the files say; the kernel's error goes to `answer`. */
static int look(struct nft_ctx *nft, char *answer)
{
	char *text = NULL;
	size_t size = 0;
	FILE *commands = open_memstream(&text, &size);
	DIR *folder = opendir(FENCE_DIR);
	struct dirent *entry;
	int failed;

	if (!commands)
		return -1;
	fputs("flush set inet guardian_fence four\nflush set inet guardian_fence six\n", commands);
	while (folder && (entry = readdir(folder)))
		if (*entry->d_name != '.')
			add_file(commands, entry->d_name);
	if (folder)
		closedir(folder);
	if (fclose(commands) != 0)
		return -1;
	failed = nft_run_cmd_from_buffer(nft, text);
	free(text);
	if (failed)
		snprintf(answer, ANSWER_SIZE, "%.*s\n", (int)strcspn(nft_ctx_get_error_buffer(nft), "\n"),
		         nft_ctx_get_error_buffer(nft));
	return failed ? -1 : 0;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	mkdir(RUN_DIR, 0700);
	unlink(path);
	return fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(path, 0600) < 0 ||
	               listen(fd, 64) < 0 ? -1 : fd;
}

/* ready is sd_notify(3) "READY=1". */
static void ready(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (path && fd >= 0 && strlen(path) < sizeof address.sun_path) {
		strcpy(address.sun_path, path);
		if (*path == '@')
			address.sun_path[0] = '\0';
		if (sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&address,
		           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
			perror("guardian: systemd is not told");
	}
	close(fd);
}

static void serve(struct nft_ctx *nft, int listening)
{
	struct timeval limit = {.tv_sec = ASK_SECONDS};
	char line[16], answer[ANSWER_SIZE];
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (read(fd, line, sizeof line) > 0) {
		strcpy(answer, "no memory\n");
		if (look(nft, answer) == 0)
			strcpy(answer, "ok\n");
		else
			fprintf(stderr, "guardian: %s", answer);
		if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
			fprintf(stderr, "guardian: whoever asked is gone\n");
	}
	close(fd);
}

int main(int argc, char **argv)
{
	struct nft_ctx *nft;
	char answer[ANSWER_SIZE] = "no memory\n";
	int listening;

	if (argc == 2 && !strcmp(argv[1], "look"))
		return fence_look() == 0 ? 0 : 1;
	nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft || nft_ctx_buffer_error(nft) != 0) {
		fprintf(stderr, "guardian: no nftables\n");
		return 1;
	}
	if (nft_run_cmd_from_buffer(nft, RULES) != 0) {
		fprintf(stderr, "guardian: the kernel does not take the table: %s\n", nft_ctx_get_error_buffer(nft));
		return 1;
	}
	listening = listen_at(FENCE_SOCKET);
	if (listening < 0) {
		perror("guardian: " FENCE_SOCKET);
		return 1;
	}
	/* What cannot be fenced is answered with resets: nothing is gained by not starting. */
	if (look(nft, answer) < 0)
		fprintf(stderr, "guardian: %s", answer);
	ready();
	for (;;)
		serve(nft, listening);
}
