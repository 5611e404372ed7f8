#include "mgmt/console/json.h"

#include <stdio.h>
#include <string.h>

static void put(struct json *j, const char *text) {
    j->put(j->context, text, strlen(text));
}

/* Bytes beyond ASCII are written as the characters of the same number, so that any byte string
 * comes out as valid JSON and can be had back. */
static void put_string(struct json *j, const char *value) {
    put(j, "\"");
    for (; *value; value++) {
        unsigned char byte = (unsigned char)*value;
        char text[8];
        if (byte == '"' || byte == '\\')
            snprintf(text, sizeof(text), "\\%c", byte);
        else if (byte < ' ' || byte >= 0x7f)
            snprintf(text, sizeof(text), "\\u%04x", byte);
        else
            snprintf(text, sizeof(text), "%c", byte);
        put(j, text);
    }
    put(j, "\"");
}

static void put_name(struct json *j, const char *name) {
    if (j->comma)
        put(j, ",");
    j->comma = true;
    if (name) {
        put_string(j, name);
        put(j, ":");
    }
}

void json_begin(struct json *j, void (*put_bytes)(void *context, const char *text, size_t bytes),
                void *context) {
    *j = (struct json){.put = put_bytes, .context = context};
    put(j, "\x1e{");
}

void json_end(struct json *j) {
    put(j, "}\n");
}

static void begin(struct json *j, const char *name, const char *bracket) {
    put_name(j, name);
    put(j, bracket);
    j->comma = false;
}

static void finish(struct json *j, const char *bracket) {
    put(j, bracket);
    j->comma = true;
}

void json_object(struct json *j, const char *name) {
    begin(j, name, "{");
}

void json_object_end(struct json *j) {
    finish(j, "}");
}

void json_array(struct json *j, const char *name) {
    begin(j, name, "[");
}

void json_array_end(struct json *j) {
    finish(j, "]");
}

void json_string(struct json *j, const char *name, const char *value) {
    put_name(j, name);
    put_string(j, value);
}

void json_number(struct json *j, const char *name, uint64_t value) {
    char text[24];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
    put_name(j, name);
    put(j, text);
}

void json_bool(struct json *j, const char *name, bool value) {
    put_name(j, name);
    put(j, value ? "true" : "false");
}
