/*
 * Why not conntrack(8): its --load-file stops at the first entry that is there already, and a process for each entry
 * costs 2 ms of a container's pause. Source of the attributes: linux/net/netfilter/nf_conntrack_netlink.c.
 */
#define _GNU_SOURCE
#include "conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { MESSAGE_SIZE = 1024, LINE_SIZE = 512, LIMIT_SECONDS = 5 };

struct end {
	unsigned char address[sizeof(struct in6_addr)];
	uint16_t port; /* network byte order */
};

struct entry {
	int family;
	uint32_t seconds;
	struct end source, target, reply_source, reply_target;
};

struct message {
	union {
		struct nlmsghdr header;
		char bytes[MESSAGE_SIZE];
	};
};

static size_t address_size(int family)
{
	return family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
}

/* add appends an attribute; MESSAGE_SIZE is enough for all that one entry needs (some 400 bytes). */
static struct nlattr *add(struct message *message, int type, const void *value, size_t size)
{
	struct nlattr *attribute = (struct nlattr *)(message->bytes + NLMSG_ALIGN(message->header.nlmsg_len));

	attribute->nla_type = (uint16_t)type;
	attribute->nla_len = (uint16_t)(NLA_HDRLEN + size);
	if (size)
		memcpy((char *)attribute + NLA_HDRLEN, value, size);
	message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + (uint32_t)NLA_ALIGN(attribute->nla_len);
	return attribute;
}

static struct nlattr *nest(struct message *message, int type)
{
	return add(message, type | NLA_F_NESTED, NULL, 0);
}

static void end_nest(struct message *message, struct nlattr *nested)
{
	nested->nla_len = (uint16_t)(message->bytes + message->header.nlmsg_len - (char *)nested);
}

static void add_tuple(struct message *message, int type, int family, const struct end *from, const struct end *to)
{
	struct nlattr *tuple = nest(message, type), *part = nest(message, CTA_TUPLE_IP);
	uint8_t tcp = IPPROTO_TCP;

	add(message, family == AF_INET ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, from->address, address_size(family));
	add(message, family == AF_INET ? CTA_IP_V4_DST : CTA_IP_V6_DST, to->address, address_size(family));
	end_nest(message, part);
	part = nest(message, CTA_TUPLE_PROTO);
	add(message, CTA_PROTO_NUM, &tcp, sizeof tcp);
	add(message, CTA_PROTO_SRC_PORT, &from->port, sizeof from->port);
	add(message, CTA_PROTO_DST_PORT, &to->port, sizeof to->port);
	end_nest(message, part);
	end_nest(message, tuple);
}

static void add_translation(struct message *message, int type, int family, const struct end *to)
{
	struct nlattr *translation = nest(message, type), *ports;

	add(message, family == AF_INET ? CTA_NAT_V4_MINIP : CTA_NAT_V6_MINIP, to->address, address_size(family));
	add(message, family == AF_INET ? CTA_NAT_V4_MAXIP : CTA_NAT_V6_MAXIP, to->address, address_size(family));
	ports = nest(message, CTA_NAT_PROTO);
	add(message, CTA_PROTONAT_PORT_MIN, &to->port, sizeof to->port);
	add(message, CTA_PROTONAT_PORT_MAX, &to->port, sizeof to->port);
	end_nest(message, ports);
	end_nest(message, translation);
}

/* add_protocol: established, and no check of windows, whose history is lost (as for one picked up in the middle). */
static void add_protocol(struct message *message)
{
	struct nlattr *protocol = nest(message, CTA_PROTOINFO), *tcp = nest(message, CTA_PROTOINFO_TCP);
	struct nf_ct_tcp_flags liberal = {.flags = IP_CT_TCP_FLAG_BE_LIBERAL, .mask = IP_CT_TCP_FLAG_BE_LIBERAL};
	uint8_t state = TCP_CONNTRACK_ESTABLISHED;

	add(message, CTA_PROTOINFO_TCP_STATE, &state, sizeof state);
	add(message, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, &liberal, sizeof liberal);
	add(message, CTA_PROTOINFO_TCP_FLAGS_REPLY, &liberal, sizeof liberal);
	end_nest(message, tcp);
	end_nest(message, protocol);
}

static int same(const struct end *one, const struct end *other, int family)
{
	return one->port == other->port && !memcmp(one->address, other->address, address_size(family));
}

/* build: the reply is given untranslated and the translation beside it, or the kernel does not mark the entry as
 * translated and hands its packets to the host (design). */
static void build(struct message *message, const struct entry *entry)
{
	struct nfgenmsg general = {.nfgen_family = (uint8_t)entry->family, .version = NFNETLINK_V0};
	uint32_t status = htonl(IPS_CONFIRMED | IPS_SEEN_REPLY | IPS_ASSURED), seconds = htonl(entry->seconds);

	memset(message, 0, sizeof *message);
	message->header.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	message->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
	message->header.nlmsg_len = NLMSG_LENGTH(sizeof general);
	memcpy(NLMSG_DATA(&message->header), &general, sizeof general);
	add_tuple(message, CTA_TUPLE_ORIG, entry->family, &entry->source, &entry->target);
	add_tuple(message, CTA_TUPLE_REPLY, entry->family, &entry->target, &entry->source);
	add(message, CTA_STATUS, &status, sizeof status);
	add(message, CTA_TIMEOUT, &seconds, sizeof seconds);
	add_protocol(message);
	if (!same(&entry->reply_source, &entry->target, entry->family))
		add_translation(message, CTA_NAT_DST, entry->family, &entry->reply_source);
	if (!same(&entry->reply_target, &entry->source, entry->family))
		add_translation(message, CTA_NAT_SRC, entry->family, &entry->reply_target);
}

/* exchange sends the message and returns 0 or the kernel's errno. */
static int exchange(int netlink, const struct message *message)
{
	union {
		struct nlmsghdr header;
		char bytes[MESSAGE_SIZE];
	} answer;
	const struct nlmsgerr *error = NLMSG_DATA(&answer.header);

	if (send(netlink, message, message->header.nlmsg_len, 0) < 0 || recv(netlink, &answer, sizeof answer, 0) < 0)
		return errno;
	return answer.header.nlmsg_type == NLMSG_ERROR ? -error->error : EPROTO;
}

static int parse_end(int family, const char *address, long port, struct end *end)
{
	end->port = htons((uint16_t)port);
	return inet_pton(family, address, end->address) == 1 && port > 0 && port < 65536 ? 0 : -1;
}

static int parse(const char *line, struct entry *entry)
{
	char addresses[4][64];
	long ports[4];
	unsigned seconds;

	if (sscanf(line, "%u %63s %ld %63s %ld %63s %ld %63s %ld", &seconds, addresses[0], &ports[0], addresses[1], &ports[1],
	           addresses[2], &ports[2], addresses[3], &ports[3]) != 9)
		return -1;
	entry->family = strchr(addresses[0], ':') ? AF_INET6 : AF_INET;
	entry->seconds = seconds;
	return parse_end(entry->family, addresses[0], ports[0], &entry->source) < 0 ||
	               parse_end(entry->family, addresses[1], ports[1], &entry->target) < 0 ||
	               parse_end(entry->family, addresses[2], ports[2], &entry->reply_source) < 0 ||
	               parse_end(entry->family, addresses[3], ports[3], &entry->reply_target) < 0 ? -1 : 0;
}

int put_back_entries(const char *path)
{
	struct timeval limit = {.tv_sec = LIMIT_SECONDS};
	char line[LINE_SIZE];
	int netlink, result = 0;
	FILE *file = fopen(path, "re");

	if (!file)
		return errno == ENOENT ? 0 : -1;
	netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	if (netlink < 0 || setsockopt(netlink, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0)
		result = -1;
	while (result != -1 && fgets(line, sizeof line, file)) {
		struct message message;
		struct entry entry = {0};
		int error = EINVAL;

		if (parse(line, &entry) == 0) {
			build(&message, &entry);
			error = exchange(netlink, &message);
		}
		if (error && error != EEXIST) {
			fprintf(stderr, "guardian: conntrack: %s: %s", strerror(error), line);
			result = 1;
		}
	}
	if (netlink >= 0)
		close(netlink);
	fclose(file);
	return result ? -1 : 0;
}
