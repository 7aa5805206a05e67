/* What holder, commit and start share: errors as containerd reads them, small files, durable marks. */
#ifndef GUARDIAN_COMMON_H
#define GUARDIAN_COMMON_H

#include <stddef.h>
#include <sys/types.h>

#define RUN_DIR "/run/guardian"
#define LIBEXEC_DIR "/usr/libexec/docker-guardian"
#define FORMAT 1

/* Path of a file: PATH_SIZE is enough for every path guardian makes; longer ones are refused. */
enum { PATH_SIZE = 1024 };

/* join_path writes "dir/name" and returns -1 (ENAMETOOLONG) when it does not fit. */
int join_path(char *out, const char *dir, const char *name);

/* read_small reads a whole file of at most size-1 bytes, NUL-terminated; returns the length or -1. */
ssize_t read_small(const char *path, char *buffer, size_t size);

/* write_text writes text to an existing file such as one of a cgroup; returns 0 or -1. */
int write_text(const char *path, const char *text);

/* write_durable makes a file by temporary file, fsync, rename, fsync of the folder; returns 0 or -1. */
int write_durable(const char *dir, const char *name, const char *text);

/* sync_dir fsyncs a folder; returns 0 or -1. */
int sync_dir(const char *dir);

/* value_of copies the value of the line "key=value" in text; returns 0, or -1 where there is none. */
int value_of(const char *text, const char *key, char *out, size_t size);

/* number_of is value_of for a number of at least 0 of which a thousand fit into a long; `fallback` where there is none. */
long number_of(const char *text, const char *key, long fallback);

/* wait_for waits for a child; returns 0 where it ended with status 0, -1 where not or where `child` is none. */
int wait_for(pid_t child);

/* monotonic_ms is CLOCK_MONOTONIC in milliseconds. */
long long monotonic_ms(void);

#endif
