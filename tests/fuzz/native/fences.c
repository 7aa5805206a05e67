/* The files of fences (runtime/fence.c): everything that reaches nft has been looked at. */
#define _GNU_SOURCE
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *input;
static size_t length;
static FILE *nowhere;

static FILE *opened(void)
{
	return length ? fmemopen((void *)input, length, "r") : NULL;
}

#define main fence_main
#undef stderr
#define stderr nowhere
#define fopen(path, mode) opened()
#include "../../../guardian/runtime/fence.c"
#undef fopen
#undef main

const struct sample fuzz_seeds[] = {
	SAMPLE("format=1\nuntil=99999999999\n4 192.0.2.9 40000 192.0.2.1 80\n6 fd00::9 4000 fd00::1 80\n"),
	SAMPLE("format=1\nuntil=-9223372036854775808\n4 192.0.2.9 40000 192.0.2.1 80\n"), {NULL, 0}};
const struct sample fuzz_words[] = {
	SAMPLE("\nuntil="), SAMPLE("format=1\n"), SAMPLE("\n4 1.2.3.4 1 1.2.3.4 1\n"), SAMPLE("9223372036854775807"), SAMPLE(" } ; "),
	SAMPLE("65536"), SAMPLE("::"), {NULL, 0}};

int fuzz_one(char *data, size_t size)
{
	char *text = NULL;
	size_t made = 0;
	FILE *commands;
	int found;

	if (!nowhere && !(nowhere = fopen("/dev/null", "w")))
		abort();
	input = data;
	length = size;
	commands = open_memstream(&text, &made);
	if (!commands)
		abort();
	add_file(commands, "x");
	fclose(commands);
	found = made > 0;
	for (const char *at = text; *at; at = strchrnul(at, '\n') + 1) {
		const char *end = strchrnul(at, '\n');

		if (strncmp(at, "add element inet guardian_fence ", 32) || memchr(at, ';', (size_t)(end - at)) || !*end)
			abort();
	}
	free(text);
	return found;
}
