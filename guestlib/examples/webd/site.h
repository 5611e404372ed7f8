/* What webd serves: the regular files of a newc archive on a block device. Only names and places
 * are kept in memory; contents are read when somebody asks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guestlib/block_front.h"

struct site_file {
    char *name;
    uint64_t offset; /* of the contents on the device, in bytes */
    uint32_t bytes;
};

/* Reads the archive's headers; done(ok) runs when all are known, or when the archive is damaged or
 * the device fails (a message has been printed). Call once. */
void site_load(struct block_front *block, void (*done)(bool ok));

/* NULL: no such file. */
const struct site_file *site_find(const char *name);

unsigned site_files(void);
