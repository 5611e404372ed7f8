/* Text from a definition into numbers and addresses. Each takes a NUL-terminated string as a whole
 * (nothing may follow), writes nothing unless it is right, and returns whether it is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool value_number(const char *text, uint64_t least, uint64_t most, uint64_t *out); /* decimal */
bool value_yes_no(const char *text, bool *out);
bool value_uuid(const char *text, uint8_t out[16]);
bool value_mac(const char *text, uint8_t out[6]);
bool value_ipv4(const char *text, uint32_t *out); /* network byte order */
bool value_ipv6(const char *text, uint8_t out[16]);

/* Bytes in one of libvirt's units ("KiB", "M", "GB", ...); 0: no such unit. */
uint64_t value_unit(const char *unit);

/* Letters, digits, '-', '_', '.'; begins with a letter or digit. */
bool value_is_name(const char *text);

/* As a name, with '/' between parts, no part "." or "..": a file of the boot archive. */
bool value_is_path(const char *text);

/* No control characters: safe in a log and on a command line. */
bool value_is_plain(const char *text);
