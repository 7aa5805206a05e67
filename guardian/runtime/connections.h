/* What is done for a container's connections after its memory is back and before anything of it runs. */
#ifndef GUARDIAN_CONNECTIONS_H
#define GUARDIAN_CONNECTIONS_H

/*
 * open_to_peers puts the conntrack entries in `dir` (/run/guardian/restores/ID) back, closes the sockets that cannot be kept,
 * unlocks the network namespace of process `pid` and lifts the container's fence: in this order, so that no packet
 * meets a kernel that does not know it. What fails is said on stderr and in the file `connections-failed`.
 */
void open_to_peers(const char *dir, const char *pid);

#endif
