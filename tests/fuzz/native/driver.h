/* What every native target includes first: the driver gives it inputs, `fuzz_one` returns 1 where it is accepted. */
#ifndef GUARDIAN_FUZZ_DRIVER_H
#define GUARDIAN_FUZZ_DRIVER_H

#include <stddef.h>

enum { MOST_INPUT = 2048 };

/* fuzz_one runs the parser on `size` bytes, with a NUL behind them; its own copy, exactly as long. */
int fuzz_one(char *data, size_t size);

/* Samples and words, each with its length. */
struct sample {
	const char *text;
	size_t size;
};

extern const struct sample fuzz_seeds[], fuzz_words[];
#define SAMPLE(literal) {literal, sizeof(literal) - 1}

#endif
