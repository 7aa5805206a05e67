/* The runtime call that the holder was made by, and its ticket. */
#ifndef GUARDIAN_CALL_H
#define GUARDIAN_CALL_H

#include "common.h"

enum { MAX_ARGUMENTS = 64, TICKET_SIZE = 8192, ANSWER_SIZE = 2048, CREATE_LIMIT_MS = 10000 };

struct call {
	char *globals[MAX_ARGUMENTS]; /* options before the subcommand, for the real runc */
	int globals_count;
	const char *command, *bundle, *pid_file, *console, *log, *root, *id, *runc;
	char dir[PATH_SIZE]; /* /run/guardian/holders/ID */
};

struct ticket {
	char text[TICKET_SIZE];
	char checkpoint[PATH_SIZE];
	char restore[PATH_SIZE]; /* /run/guardian/restores/ID: what was decided for this restore */
	char cgroup[PATH_SIZE];
	char flags[PATH_SIZE]; /* more options for `runc restore`, blank-separated */
	char oom[16];
	int own_network;
	long gate_seconds, restore_seconds;
};

extern struct call call;
extern struct ticket ticket;

/* fail answers as containerd reads it (a JSON line in --log) and ends the process. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* parse_call fills `call` from the runtime's own arguments; fails on anything the front would not pass. */
void parse_call(int argc, char **argv);

/* take_ticket moves the ticket, so that it is used once, and fills `ticket`; fails on one of another boot or format. */
void take_ticket(void);

#endif
