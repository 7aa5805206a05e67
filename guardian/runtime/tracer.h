/* Holds a container's processes still where the CRIU that dumps them is killed. */
#ifndef GUARDIAN_TRACER_H
#define GUARDIAN_TRACER_H

#include <sys/types.h>

/*
 * trace_criu leaves a process behind that ends with CRIU, and freezes the cgroup first where CRIU is killed. It returns once
 * that process is at it: 0, or -1 where it cannot be.
 */
int trace_criu(pid_t criu, const char *cgroup);

#endif
