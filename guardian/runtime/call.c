#define _GNU_SOURCE
#include "call.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct call call;
struct ticket ticket;

void fail(const char *format, ...)
{
	char message[ANSWER_SIZE];
	va_list arguments;
	FILE *log;

	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	for (char *at = message; *at; at++)
		if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
			*at = '\'';
	log = call.log ? fopen(call.log, "ae") : NULL;
	if (log) {
		fprintf(log, "{\"level\":\"error\",\"msg\":\"guardian: %s\"}\n", message);
		fclose(log);
	}
	fprintf(stderr, "guardian: %s\n", message);
	exit(1);
}

/* takes_value: the options of runc, global and of create and start, that are followed by a value. */
static int takes_value(const char *option)
{
	static const char *const with_value[] = {"--root",     "--log",      "--log-format",     "--criu",      "--rootless",
	                                         "--bundle",   "-b",         "--pid-file",       "--pidfd-socket",
	                                         "--console-socket", "--preserve-fds"};

	for (size_t i = 0; i < sizeof with_value / sizeof *with_value; i++)
		if (!strcmp(option, with_value[i]))
			return 1;
	return 0;
}

static void take_option(const char *option, const char *value)
{
	if (!strcmp(option, "--log"))
		call.log = value;
	else if (!strcmp(option, "--root"))
		call.root = value;
	else if (!strcmp(option, "--bundle") || !strcmp(option, "-b"))
		call.bundle = value;
	else if (!strcmp(option, "--pid-file"))
		call.pid_file = value;
	else if (!strcmp(option, "--console-socket"))
		call.console = value;
}

void parse_call(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int pair = takes_value(argv[i]) && i + 1 < argc;

		if (argv[i][0] != '-') {
			if (!call.command)
				call.command = argv[i];
			else
				call.id = argv[i];
			continue;
		}
		if (!call.command) {
			if (call.globals_count + 2 >= MAX_ARGUMENTS)
				fail("too many options");
			call.globals[call.globals_count++] = argv[i];
			if (pair)
				call.globals[call.globals_count++] = argv[i + 1];
		}
		if (pair)
			take_option(argv[i], argv[i + 1]);
		i += pair;
	}
	call.runc = getenv("GUARDIAN_RUNC");
	if (!call.command || !call.id || !call.runc)
		fail("holder is called by guardian's front only");
	if (join_path(call.dir, RUN_DIR "/holders", call.id) < 0)
		fail("container id too long");
}

void take_ticket(void)
{
	char from[PATH_SIZE], to[PATH_SIZE], boot[64], now[64];

	mkdir(RUN_DIR "/holders", 0700);
	if (mkdir(call.dir, 0700) < 0 && errno != EEXIST)
		fail("cannot make %s: %s", call.dir, strerror(errno));
	if (join_path(from, RUN_DIR "/tickets", call.id) < 0 || join_path(to, call.dir, "ticket") < 0 ||
	    rename(from, to) < 0)
		fail("cannot take the ticket: %s", strerror(errno));
	if (read_small(to, ticket.text, sizeof ticket.text) <= 0)
		fail("cannot read the ticket: %s", strerror(errno));
	if (number_of(ticket.text, "format", -1) != FORMAT)
		fail("the ticket's format is not known here");
	if (read_small("/proc/sys/kernel/random/boot_id", now, sizeof now) <= 0 ||
	    value_of(ticket.text, "boot", boot, sizeof boot) < 0 || strncmp(now, boot, strlen(boot)) || strlen(boot) < 36)
		fail("the ticket is of another boot");
	if (value_of(ticket.text, "checkpoint", ticket.checkpoint, sizeof ticket.checkpoint) < 0 ||
	    value_of(ticket.text, "restore", ticket.restore, sizeof ticket.restore) < 0 ||
	    value_of(ticket.text, "cgroup", ticket.cgroup, sizeof ticket.cgroup) < 0)
		fail("the ticket is incomplete");
	if (value_of(ticket.text, "flags", ticket.flags, sizeof ticket.flags) < 0)
		ticket.flags[0] = '\0';
	if (value_of(ticket.text, "oom_score_adj", ticket.oom, sizeof ticket.oom) < 0)
		strcpy(ticket.oom, "0");
	ticket.own_network = number_of(ticket.text, "own_network", 1) != 0;
	ticket.gate_seconds = number_of(ticket.text, "gate_seconds", 600);
	ticket.restore_seconds = number_of(ticket.text, "restore_seconds", 120);
}
