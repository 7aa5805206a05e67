/* A network namespace that answers nobody until it is unlocked. */
#ifndef GUARDIAN_NETWORK_H
#define GUARDIAN_NETWORK_H

/* enter_locked_network unshares a network namespace with only loopback open; returns 0 or -1. */
int enter_locked_network(void);

/* unlock_network undoes the lock of the namespace this process is in; returns 0 or -1. */
int unlock_network(void);

/* unlock_network_of is unlock_network for the namespace of a process, unless that is this process's own. */
int unlock_network_of(const char *pid);

#endif
