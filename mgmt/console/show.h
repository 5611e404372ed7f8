/* What commands print: for people, or one JSON object (docs/json.md). */
#pragma once

#include "mgmt/console/json.h"
#include "mgmt/domain/domain.h"

struct request {
    const char *command;
    const char *argument; /* "" if there is none */
    bool json;
};

/* Begins a JSON answer: {"command": ..., "ok": true, ... */
void show_begin(const struct request *request, struct json *j);

void show_done(const struct request *request);
void show_error(const struct request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void show_list(const struct request *request);
void show_info(const struct request *request, const struct domain *d);
void show_caps(const struct request *request, const struct domain *d); /* NULL: mgmt's own */
void show_mem(const struct request *request);
void show_cpu(const struct request *request);
void show_log(const struct request *request);

/* mgmt is ready now: `cpu` reports hv's counters as they stand at this moment. */
void show_mark_ready(void);
