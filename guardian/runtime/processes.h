/* What proc(5) says of processes, and the CRIU that this script was started by. */
#ifndef GUARDIAN_PROCESSES_H
#define GUARDIAN_PROCESSES_H

#include <stddef.h>
#include <sys/types.h>

enum { STAT_SIZE = 4096 };

/* stat_field copies field `number` (1-based) of the text of /proc/PID/stat; -1 where there is none or it does not fit. */
int stat_field(const char *stat, int number, char *out, size_t size);

/* read_stat reads /proc/PID/stat into STAT_SIZE bytes. */
int read_stat(const char *pid, char *stat);

/* criu_above is the process that started this script, through a shell or not; -1 where it cannot be told. */
pid_t criu_above(void);

/* watch_criu has us end with the CRIU that started us and returns a pidfd of it, or -1. */
int watch_criu(void);

/* watch_runc returns a pidfd of the one that CRIU works for, or -1. */
int watch_runc(void);

#endif
