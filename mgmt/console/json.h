/* JSON output (RFC 8259), one value framed as RFC 7464 wants it: 0x1E, the text, 0x0A. A writer
 * keeps the commas; what it is given is escaped. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json {
    void (*put)(void *context, const char *text, size_t bytes);
    void *context;
    bool comma; /* before the next member or element */
};

void json_begin(struct json *j, void (*put)(void *context, const char *text, size_t bytes),
                void *context); /* the frame and its object */
void json_end(struct json *j);

/* name: of a member; NULL for an element of an array. */
void json_object(struct json *j, const char *name);
void json_object_end(struct json *j);
void json_array(struct json *j, const char *name);
void json_array_end(struct json *j);
void json_string(struct json *j, const char *name, const char *value);
void json_number(struct json *j, const char *name, uint64_t value);
void json_bool(struct json *j, const char *name, bool value);
