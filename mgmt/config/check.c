/* What is right in each definition alone and wrong in two together. */
#include "mgmt/config/definition.h"

#include <stdio.h>
#include <string.h>

static const uint8_t no_ipv6[16];

static bool writes(const struct bh_definition_disk *disk) {
    return !(disk->flags & (BH_DISK_READ_ONLY | BH_DISK_THROW_AWAY));
}

static bool check_disks(const char *file, const struct bh_definition *one,
                        const struct bh_definition *other, struct definition_error *error) {
    for (uint32_t i = 0; i < one->disks; i++)
        for (uint32_t j = 0; j < other->disks; j++) {
            const struct bh_definition_disk *a = &one->disk[i], *b = &other->disk[j];
            if (a == b || strcmp(a->source, b->source) != 0 || (!writes(a) && !writes(b)))
                continue;
            snprintf(error->text, sizeof(error->text),
                     "%s:%u: <disk>: volume %s is also used by guest %s, and one of the two writes "
                     "it; add <readonly/> to both or use another volume",
                     file, a->line, a->source, other->name);
            return false;
        }
    return true;
}

static bool check_net(const char *file, const struct bh_definition_net *a,
                      const struct bh_definition_net *b, const char *other_name,
                      struct definition_error *error) {
    const char *what = NULL;
    if (memcmp(a->mac, b->mac, sizeof(a->mac)) == 0)
        what = "MAC";
    else if (a->vlan == b->vlan && a->ipv4_address && a->ipv4_address == b->ipv4_address)
        what = "IPv4";
    else if (a->vlan == b->vlan && memcmp(a->ipv6_address, no_ipv6, sizeof(no_ipv6)) != 0 &&
             memcmp(a->ipv6_address, b->ipv6_address, sizeof(no_ipv6)) == 0)
        what = "IPv6";
    if (!what)
        return true;
    snprintf(error->text, sizeof(error->text),
             "%s:%u: <interface>: guest %s has the same %s address; give each interface its own",
             file, a->line, other_name, what);
    return false;
}

bool definition_check_pair(const char *file, const struct bh_definition *one,
                           const struct bh_definition *other, struct definition_error *error) {
    if (one != other && strcmp(one->name, other->name) == 0) {
        snprintf(error->text, sizeof(error->text),
                 "%s:%u: <name>: there is a guest named %s already; choose another name", file,
                 one->name_line, one->name);
        return false;
    }
    for (uint32_t i = 0; i < one->nets; i++)
        for (uint32_t j = 0; j < other->nets; j++)
            if (&one->net[i] != &other->net[j] &&
                !check_net(file, &one->net[i], &other->net[j], other->name, error))
                return false;
    return check_disks(file, one, other, error);
}
