/* conntrack entries, put back into this process's network namespace. */
#ifndef GUARDIAN_CONNTRACK_H
#define GUARDIAN_CONNTRACK_H

/*
 * put_back_entries makes the TCP entries of a file, one in each line:
 *
 *     SECONDS  SOURCE PORT TARGET PORT  SOURCE PORT TARGET PORT
 *
 * first the direction that began the connection, then the one that answers. An entry that is there is left as it is.
 * Returns 0, or -1 where a line does not parse or the kernel refused one; the others are made all the same.
 */
int put_back_entries(const char *path);

#endif
