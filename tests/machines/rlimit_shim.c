/* Limits of other users' processes for a CRIU that lacks CAP_SYS_RESOURCE.
 *
 * CRIU reads the limits of every process it dumps with
 *     syscall(SYS_prlimit64, pid, resource, NULL, &old)
 * and the kernel refuses (EPERM) for a process of another user unless the
 * caller has CAP_SYS_RESOURCE. Some test machines do not have it to give.
 * Preloaded into criu, this library answers such a refused question from
 * /proc/PID/limits, which root may read. Everything else goes to the kernel
 * unchanged. It belongs to the test hosts and is no part of the product.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

typedef long (*syscall_function)(long number, ...);

static syscall_function next_syscall;

/* The lines of /proc/PID/limits by resource number. */
static const char *const line_of[] = {
	[RLIMIT_CPU] = "Max cpu time",
	[RLIMIT_FSIZE] = "Max file size",
	[RLIMIT_DATA] = "Max data size",
	[RLIMIT_STACK] = "Max stack size",
	[RLIMIT_CORE] = "Max core file size",
	[RLIMIT_RSS] = "Max resident set",
	[RLIMIT_NPROC] = "Max processes",
	[RLIMIT_NOFILE] = "Max open files",
	[RLIMIT_MEMLOCK] = "Max locked memory",
	[RLIMIT_AS] = "Max address space",
	[RLIMIT_LOCKS] = "Max file locks",
	[RLIMIT_SIGPENDING] = "Max pending signals",
	[RLIMIT_MSGQUEUE] = "Max msgqueue size",
	[RLIMIT_NICE] = "Max nice priority",
	[RLIMIT_RTPRIO] = "Max realtime priority",
	[RLIMIT_RTTIME] = "Max realtime timeout",
};

__attribute__((constructor)) static void prepare(void)
{
	next_syscall = (syscall_function)dlsym(RTLD_NEXT, "syscall");
	/* For criu only, not for the scripts it runs. */
	unsetenv("LD_PRELOAD");
}

static bool parse_limit(const char *text, rlim64_t *value)
{
	char *end;

	if (strcmp(text, "unlimited") == 0) {
		*value = RLIM64_INFINITY;
		return true;
	}
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno == 0 && end != text && *end == '\0';
}

static bool limits_from_proc(int pid, const char *name, struct rlimit64 *limits)
{
	char path[32], line[256], soft[32], hard[32];
	size_t length = strlen(name);
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/limits", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, length) != 0)
			continue;
		found = sscanf(line + length, "%31s %31s", soft, hard) == 2 &&
			parse_limit(soft, &limits->rlim_cur) &&
			parse_limit(hard, &limits->rlim_max);
	}
	fclose(file);
	return found;
}

long syscall(long number, ...)
{
	long a[6], result;
	va_list list;

	va_start(list, number);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(list, long);
	va_end(list);

	result = next_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (result == -1 && errno == EPERM && number == SYS_prlimit64 && a[2] == 0 && a[3] != 0) {
		unsigned long resource = (unsigned long)a[1];

		if (resource < ARRAY_SIZE(line_of) &&
		    limits_from_proc((int)a[0], line_of[resource], (struct rlimit64 *)a[3]))
			return 0;
		errno = EPERM;
	}
	return result;
}
