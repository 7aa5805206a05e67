/* The ticket that the holder takes (runtime/call.c), and the words of restores (runtime/common.c). */
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

#include "../../../guardian/runtime/common.h"

static const char BOOT[] = "01234567-89ab-cdef-0123-456789abcdef\n";
static jmp_buf failed;
static const char *input;
static FILE *nowhere;

static void stop(int status) __attribute__((noreturn));
static void stop(int status)
{
	(void)status;
	longjmp(failed, 1);
}

static ssize_t read_given(const char *path, char *buffer, size_t size)
{
	const char *from = strstr(path, "boot_id") ? BOOT : input;
	size_t length = strlen(from) < size - 1 ? strlen(from) : size - 1;

	memcpy(buffer, from, length);
	buffer[length] = '\0';
	return (ssize_t)length;
}

static int done(void)
{
	return 0;
}

#define exit stop
#define read_small read_given
#define mkdir(path, mode) done()
#define rename(from, to) done()
#undef stderr
#define stderr nowhere
#include "../../../guardian/runtime/call.c"
#undef exit
#undef read_small
#undef mkdir
#undef rename

const struct sample fuzz_seeds[] = {
	SAMPLE("format=1\ncheckpoint=/store/a/b\nrestore=/run/guardian/restores/a\nboot=01234567-89ab-cdef-0123-456789abcdef\n"
	       "cgroup=/sys/fs/cgroup/x\nown_network=1\noom_score_adj=-5\ngate_seconds=600\nrestore_seconds=120\nflags=--a --b\n"),
	SAMPLE("format=2\n"), {NULL, 0}};
const struct sample fuzz_words[] = {
	SAMPLE("format=1\n"), SAMPLE("\ncheckpoint="), SAMPLE("\nboot="), SAMPLE("\noom_score_adj="), SAMPLE("\nflags="),
	SAMPLE("\ngate_seconds="), SAMPLE("9223372036854775807"), SAMPLE("-"), SAMPLE("\n"), SAMPLE("="), {NULL, 0}};

int fuzz_one(char *data, size_t size)
{
	char dir[PATH_SIZE];

	(void)size;
	if (!nowhere && !(nowhere = fopen("/dev/null", "w")))
		abort();
	memset(&call, 0, sizeof call);
	memset(&ticket, 0, sizeof ticket);
	strcpy(call.dir, "/run/guardian/holders/x");
	call.id = "x";
	input = data;
	if (setjmp(failed))
		return 0;
	take_ticket();
	if (ticket.checkpoint[0] == '\0' && join_path(dir, ticket.checkpoint, "img") < 0)
		return 0;
	/* What is made of them: milliseconds. */
	volatile long gate = 1000 * ticket.gate_seconds, restore = 1000 * ticket.restore_seconds;

	return gate >= 0 && restore >= 0;
}
