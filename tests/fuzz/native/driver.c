/*
 * Gives RUNS inputs to one parser, made from SEED: mutations of samples, and of inputs that reached new edges. Compiled
 * with -fsanitize=address,undefined, which end the process at the first thing that is wrong; the input is in FOLDER/last
 * then. The target alone is compiled with -fsanitize-coverage=trace-pc (gcc's), which calls __sanitizer_cov_trace_pc.
 *
 * driver RUNS SEED FOLDER [FILE...]: FILEs are inputs to begin with. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include "driver.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MAP_SIZE = 1 << 16, MOST_KEPT = 4000, MOST_STEPS = 5 };

static unsigned char seen[MAP_SIZE], now[MAP_SIZE];
static struct sample kept[MOST_KEPT];
static int kept_count;
static uint64_t random_state;
static uintptr_t last_place;
static char *last_input; /* a file that is mapped, so that it is there whatever ends the process */
static volatile long current, ticked;

void __sanitizer_cov_trace_pc(void)
{
	uintptr_t place = (uintptr_t)__builtin_return_address(0);

	now[(place ^ (last_place << 3)) % MAP_SIZE] = 1;
	last_place = place;
}

static uint64_t random_64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static size_t below(size_t limit)
{
	return limit ? random_64() % limit : 0;
}

static int count_of(const struct sample *samples)
{
	int count = 0;

	while (samples[count].text)
		count++;
	return count;
}

/* put overwrites (or inserts) bytes at a place. */
static size_t put(char *data, size_t size, const char *bytes, size_t length, int insert)
{
	size_t at = below(size + 1);

	if (insert && size + length <= MOST_INPUT) {
		memmove(data + at + length, data + at, size - at);
		size += length;
	} else if (at + length > size) {
		length = size - at;
	}
	memcpy(data + at, bytes, length);
	return size;
}

static size_t mutate(char *data, size_t size, int words)
{
	char bytes[64];
	size_t at, length;

	for (size_t steps = 1 + below(MOST_STEPS); steps; steps--) {
		const struct sample *other = &kept[below((size_t)kept_count)];

		switch (below(8)) {
		case 0:
			if (size)
				data[below(size)] ^= (char)(1 << below(8));
			break;
		case 1:
			if (size)
				data[below(size)] = (char)random_64();
			break;
		case 2:
			at = below(size);
			length = below(size - at < 64 ? size - at + 1 : 64);
			memmove(data + at, data + at + length, size - at - length);
			size -= length;
			break;
		case 3:
		case 4:
			if (words) {
				const struct sample *word = &fuzz_words[below((size_t)words)];

				size = put(data, size, word->text, word->size, below(3) != 0);
			}
			break;
		case 5:
			at = below(other->size);
			length = below(other->size - at + 1);
			size = put(data, size, other->text + at, length, below(2) != 0);
			break;
		case 6:
			length = 1 + below(sizeof bytes - 1);
			memset(bytes, (int)(below(2) ? random_64() : (uint64_t)"0 9/a="[below(6)]), length);
			size = put(data, size, bytes, length, 1);
			break;
		default:
			length = (size_t)snprintf(bytes, sizeof bytes, "%lld", (long long)(random_64() >> below(64)) - (long long)below(2));
			size = put(data, size, bytes, length, below(2) != 0);
		}
	}
	return size;
}

static void keep(const char *data, size_t size, const char *folder)
{
	char path[512];
	char *copy = malloc(size + 1);
	int fd;

	if (kept_count >= MOST_KEPT || !copy)
		abort();
	memcpy(copy, data, size);
	kept[kept_count++] = (struct sample){copy, size};
	snprintf(path, sizeof path, "%s/found/%06d", folder, kept_count);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

/* is_new: whether an input reached an edge that none has before. */
static int is_new(void)
{
	int found = 0;

	for (size_t word = 0; word < MAP_SIZE / sizeof(uint64_t); word++) {
		uint64_t mine, before;

		memcpy(&mine, now + word * sizeof mine, sizeof mine);
		memcpy(&before, seen + word * sizeof before, sizeof before);
		if (mine & ~before) {
			found = 1;
			before |= mine;
			memcpy(seen + word * sizeof before, &before, sizeof before);
		}
	}
	return found;
}

/* tick comes every half second of CPU time: an input that is still the same after three is a hang. */
static void tick(int number)
{
	static long same;

	(void)number;
	same = current == ticked ? same + 1 : 0;
	ticked = current;
	if (same >= 2)
		_exit(99);
}

static int one(const char *data, size_t size)
{
	char *copy = malloc(size + 1);
	int accepted;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	copy[size] = '\0';
	memcpy(last_input + sizeof size, data, size);
	memcpy(last_input, &size, sizeof size);
	memset(now, 0, sizeof now);
	last_place = 0;
	accepted = fuzz_one(copy, size);
	free(copy);
	return accepted;
}

static char *mapped(const char *folder)
{
	char path[512];
	int fd;

	snprintf(path, sizeof path, "%s/last", folder);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, MOST_INPUT + 64) < 0)
		abort();
	return mmap(NULL, MOST_INPUT + 64, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

int main(int argc, char **argv)
{
	struct itimerval half = {.it_interval = {.tv_usec = 500000}, .it_value = {.tv_usec = 500000}};
	static char data[MOST_INPUT * 2];
	long runs = argc > 3 ? atol(argv[1]) : 0, accepted = 0;
	int words = count_of(fuzz_words), seeds = count_of(fuzz_seeds);
	size_t warm = 0;

	if (runs <= 0)
		return 2;
	random_state = 0x9e3779b97f4a7c15ULL * (uint64_t)(atol(argv[2]) + 1);
	last_input = mapped(argv[3]);
	for (int place = 0; place < seeds; place++)
		keep(fuzz_seeds[place].text, fuzz_seeds[place].size, argv[3]);
	for (int place = 4; place < argc; place++) {
		int fd = open(argv[place], O_RDONLY);
		ssize_t got = fd < 0 ? -1 : read(fd, data, MOST_INPUT);

		if (got >= 0)
			keep(data, (size_t)got, argv[3]);
		close(fd);
	}
	signal(SIGPROF, tick);
	setitimer(ITIMER_PROF, &half, NULL);
	for (current = 0; current < runs; current++) {
		const struct sample *from = &kept[current < kept_count ? (size_t)current : below((size_t)kept_count)];
		size_t size = from->size < MOST_INPUT ? from->size : MOST_INPUT;

		memcpy(data, from->text, size);
		if (current >= seeds + argc - 4)
			size = mutate(data, size, words);
		accepted += one(data, size) == 1;
		if (is_new() && kept_count < MOST_KEPT)
			keep(data, size, argv[3]);
		if (current == runs / 10)
			warm = mallinfo2().uordblks;
	}
	printf("{\"inputs\": %ld, \"accepted\": %ld, \"kept\": %d, \"grown\": %zu}\n", runs, accepted, kept_count,
	       mallinfo2().uordblks > warm ? mallinfo2().uordblks - warm : 0);
	return 0;
}
