/* What `info` says besides of an HVM guest. Counts are its VMM's word. */
#pragma once

#include "mgmt/console/json.h"
#include "mgmt/domain/domain.h"

/* Members of the open object; j NULL: lines for people. */
void show_hvm(struct json *j, const struct domain *d);
