/* The lines of conntrack entries to be put back (runtime/conntrack.c): parsed, and built as the kernel gets them. */
#define _GNU_SOURCE
#include "driver.h"

#include "../../../guardian/runtime/conntrack.c"

#include <stdlib.h>

const struct sample fuzz_seeds[] = {
	SAMPLE("600 192.0.2.9 40000 192.0.2.1 80 172.17.0.2 80 192.0.2.9 40000\n"),
	SAMPLE("432000 fd00::9 4000 fd00::1 80 fd00::2 80 fd00::9 4000\n"), {NULL, 0}};
const struct sample fuzz_words[] = {
	SAMPLE(" ::ffff:1.2.3.4 "), SAMPLE(" 65535 "), SAMPLE(" 65536 "), SAMPLE(" -1 "), SAMPLE("::"), SAMPLE("4294967296 "),
	SAMPLE(" "), SAMPLE("\t"), SAMPLE("0"), {NULL, 0}};

int fuzz_one(char *data, size_t size)
{
	struct message message;
	struct entry entry = {0};

	/* As fgets gives it. */
	if (size >= LINE_SIZE)
		data[LINE_SIZE - 1] = '\0';
	if (parse(data, &entry) < 0)
		return 0;
	build(&message, &entry);
	if (message.header.nlmsg_len > MESSAGE_SIZE)
		abort();
	return 1;
}
