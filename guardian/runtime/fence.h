/* The client's side of the fence (fence.c). */
#ifndef GUARDIAN_FENCE_H
#define GUARDIAN_FENCE_H

#define FENCE_DIR "/var/lib/guardian/fence"
#define FENCE_SOCKET RUN_DIR "/fence.sock"

/* fence_look has the fence look at its files; returns 0 once the kernel has what they say, or -1. */
int fence_look(void);

/* fence_lift removes a container's file and has the fence look, when there was one; returns 0 or -1. */
int fence_lift(const char *container);

#endif
