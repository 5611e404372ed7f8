/* Domain definitions: XML (docs/definitions.md) into struct bh_definition, and whether several can
 * live together. Messages are for people: where, what is wrong, what to do about it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "abi/definition.h"

#define DEFINITION_XML_BYTES_MAX 65536u
#define DEFINITION_ERROR_BYTES 320u

struct definition_error {
    char text[DEFINITION_ERROR_BYTES]; /* "guests/a.xml:12: <memory>: ...; ..." */
};

/* `file` is for messages. False: *error says why, *out is worthless. */
bool definition_parse(const char *file, const char *xml, size_t bytes, struct bh_definition *out,
                      struct definition_error *error);

/* Whether `one` can live beside `other`: names, MAC and IP addresses, writers of volumes. Also
 * finds clashes inside one definition (other == one). `file` is that of `one`. */
bool definition_check_pair(const char *file, const struct bh_definition *one,
                           const struct bh_definition *other, struct definition_error *error);
