/* HTTP/1.1 requests (RFC 9110, RFC 9112), apart from all input and output. What comes from the
 * network is hostile; nothing here allocates or keeps state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_HEAD_BYTES_MAX 4096u /* of request line and fields together; more: 431 */
#define HTTP_PATH_BYTES_MAX 256u  /* decoded, NUL included; more: 414 */
#define HTTP_ENCODED_BYTES_MAX (3u * HTTP_PATH_BYTES_MAX)

enum http_range { HTTP_RANGE_NONE, HTTP_RANGE_FROM_TO, HTTP_RANGE_FROM, HTTP_RANGE_LAST };

struct http_request {
    size_t bytes;    /* of the request's head */
    unsigned status; /* 200, or the error it is to be answered with */
    bool head_only;  /* HEAD */
    bool keep_alive; /* after the answer; never after an error that leaves the stream unclear */
    char path[HTTP_PATH_BYTES_MAX]; /* decoded, without query and leading '/', without ".." */
    enum http_range range;
    uint64_t range_first, range_last; /* RANGE_LAST: the last range_last bytes */
};

/* False: the head is not complete yet (count < HTTP_HEAD_BYTES_MAX). Blank lines in front are
 * skipped. */
bool http_parse(const char *bytes, size_t count, struct http_request *request);

/* Which part of `bytes` bytes the request asks for. Returns 200 (all), 206 (first..last) or 416. */
unsigned http_part(const struct http_request *request, uint64_t bytes, uint64_t *first,
                   uint64_t *last);

/* The path as it may stand in a URL. */
void http_encode(const char *path, char encoded[static HTTP_ENCODED_BYTES_MAX]);

const char *http_reason(unsigned status);

/* By the name's ending. */
const char *http_content_type(const char *name);
