/* init's voice: lines in hv's log, without a C library. */
#pragma once

#include <stdint.h>

void text_put(const char *text);
void text_hex(uint64_t value);
void text_decimal(uint64_t value);
void text_end(void); /* ends the line and sends what is left of it */
