#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int join_path(char *out, const char *dir, const char *name)
{
	int length = snprintf(out, PATH_SIZE, "%s/%s", dir, name);

	if (length < 0 || length >= PATH_SIZE) {
		errno = ENAMETOOLONG;
		return -1;
	}
	return 0;
}

ssize_t read_small(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;

	if (fd < 0)
		return -1;
	while (have < size - 1) {
		ssize_t got = read(fd, buffer + have, size - 1 - have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			close(fd);
			return -1;
		}
		if (got == 0)
			break;
		have += (size_t)got;
	}
	close(fd);
	buffer[have] = '\0';
	return (ssize_t)have;
}

int wait_for(pid_t child)
{
	int status;

	if (child < 0)
		return -1;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status == 0 ? 0 : -1;
}

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t done = write(fd, text, left);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -1;
		text += done;
		left -= (size_t)done;
	}
	return 0;
}

int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -1;
	result = write_all(fd, text);
	close(fd);
	return result;
}

int sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	if (fd < 0)
		return -1;
	result = fsync(fd);
	close(fd);
	return result;
}

int write_durable(const char *dir, const char *name, const char *text)
{
	char path[PATH_SIZE], temporary[PATH_SIZE];
	int fd;

	if (join_path(path, dir, name) < 0)
		return -1;
	if (snprintf(temporary, sizeof temporary, "%s/.%s.%d", dir, name, getpid()) >= (int)sizeof temporary) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	if (write_all(fd, text) < 0 || fsync(fd) < 0) {
		close(fd);
		unlink(temporary);
		return -1;
	}
	close(fd);
	if (rename(temporary, path) < 0) {
		unlink(temporary);
		return -1;
	}
	return sync_dir(dir);
}

int value_of(const char *text, const char *key, char *out, size_t size)
{
	size_t key_length = strlen(key);

	while (*text) {
		const char *end = strchrnul(text, '\n');

		if (!strncmp(text, key, key_length) && text[key_length] == '=') {
			const char *value = text + key_length + 1;
			size_t length = (size_t)(end - value);

			if (length >= size)
				return -1;
			memcpy(out, value, length);
			out[length] = '\0';
			return 0;
		}
		text = *end ? end + 1 : end;
	}
	return -1;
}

long number_of(const char *text, const char *key, long fallback)
{
	char value[32], *end;
	long number;

	if (value_of(text, key, value, sizeof value) < 0 || !*value)
		return fallback;
	number = strtol(value, &end, 10);
	/* Seconds become milliseconds. */
	return *end || number < 0 || number > LONG_MAX / 1000 ? fallback : number;
}

long long monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}
