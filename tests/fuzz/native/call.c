/* The runtime's own arguments (runtime/call.c, parse_call): the input's words are split at NULs. */
#define _GNU_SOURCE
#include "driver.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static jmp_buf failed;
static FILE *nowhere;

static void stop(int status) __attribute__((noreturn));
static void stop(int status)
{
	(void)status;
	longjmp(failed, 1);
}

#define exit stop
#undef stderr
#define stderr nowhere
#define fopen(path, mode) fopen("/dev/null", mode)
#include "../../../guardian/runtime/call.c"
#undef exit
#undef fopen

enum { MOST_WORDS = 300 };

const struct sample fuzz_seeds[] = {
	SAMPLE("--root\0/run/docker/runtime-runc/moby\0--log\0/x/log.json\0--log-format\0json\0create\0--bundle\0/b\0--pid-file\0"
	       "/b/init.pid\0--console-socket\0/c\0" "4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2"),
	SAMPLE("--systemd-cgroup\0start\0x"), {NULL, 0}};
const struct sample fuzz_words[] = {
	SAMPLE("\0--root\0"), SAMPLE("\0--log\0"), SAMPLE("\0create\0"), SAMPLE("\0-b\0"), SAMPLE("\0-\0"), SAMPLE("\0-x\0-x\0-x\0-x"),
	SAMPLE("\0\0\0\0"), SAMPLE("\0--preserve-fds\0"), {NULL, 0}};

int fuzz_one(char *data, size_t size)
{
	char *words[MOST_WORDS + 2] = {"holder"};
	int count = 1;

	if (!nowhere && !(nowhere = fopen("/dev/null", "w")))
		abort();
	setenv("GUARDIAN_RUNC", "/usr/sbin/runc", 0);
	memset(&call, 0, sizeof call);
	for (char *at = data; at <= data + size && count < MOST_WORDS; at += strlen(at) + 1)
		words[count++] = at;
	if (setjmp(failed))
		return 0;
	parse_call(count, words);
	if (call.globals_count < 0 || call.globals_count >= MAX_ARGUMENTS || !call.id || !call.command)
		abort();
	return 1;
}
