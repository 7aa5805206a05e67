/* What the commit script reads (runtime/commit.c): key=value facts, and /proc/PID/stat with whatever name. */
#define _GNU_SOURCE
#include "driver.h"

#define main commit_main
#include "../../../guardian/runtime/commit.c"
#undef main
#include "../../../guardian/runtime/processes.c"

const struct sample fuzz_seeds[] = {
	SAMPLE("format=1\ncgroup=/sys/fs/cgroup/x\nsocket=/run/guardian/dumps/x\nlimit=120\ndecision=/store/.moves/x/verdict\n"),
	SAMPLE("77 (a) b) S 1 2 3 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123 1 2 3 456 5 789 7 8 9 10 11 12 0 0 0 17 0 0 0 0 0 0 1 2 "
	       "1011 4 5\n"),
	SAMPLE("move=x\nlimit=99999999999999999999\n"), {NULL, 0}};
const struct sample fuzz_words[] = {
	SAMPLE("\nlimit="), SAMPLE("\nsocket="), SAMPLE(") S 1 2"), SAMPLE("("), SAMPLE(")"), SAMPLE(" "), SAMPLE("\n"),
	SAMPLE("9223372036854775807"), SAMPLE("-9223372036854775808"), {NULL, 0}};

int fuzz_one(char *data, size_t size)
{
	static const char *const keys[] = {"format", "cgroup", "socket", "limit", "decision", ""};
	char out[PATH_SIZE], field[32];
	int found = 0;

	(void)size;
	for (size_t place = 0; place < sizeof keys / sizeof *keys; place++) {
		found += value_of(data, keys[place], out, sizeof out) == 0;
		found += value_of(data, keys[place], field, 1) == 0;
		/* As commit.c has it. */
		volatile long milliseconds = 1000 * number_of(data, keys[place], 120);

		found += milliseconds != 120000;
	}
	for (int number = 3; number < 60; number += 4)
		found += stat_field(data, number, field, sizeof field) == 0;
	return found > 6;
}
