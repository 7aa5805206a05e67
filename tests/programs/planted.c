/* planted.c: two threads that wait in functions with known names and variables; built with -g -O0 for gdb to look at. */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct planted {
	int number;
	char text[32];
};

static struct planted global = { 4711, "global text" };
static volatile int ready;

static void innermost(struct planted *given, int depth)
{
	struct planted local = { given->number + depth, "local text" };

	ready++;
	while (local.number)
		pause();
}

static void middle(int depth)
{
	innermost(&global, depth);
}

static void *in_thread(void *argument)
{
	double in_register = 2.5;

	(void)argument;
	middle(100);
	return in_register > 2 ? argument : NULL;
}

int main(void)
{
	pthread_t thread;

	signal(SIGALRM, SIG_IGN);
	if (pthread_create(&thread, NULL, in_thread, NULL))
		return 1;
	while (!ready)
		usleep(1000);
	puts("ready");
	fflush(stdout);
	middle(7);
	return 0;
}
