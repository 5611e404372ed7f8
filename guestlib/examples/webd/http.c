/* Requests: see http.h. A head is cut into lines, each line is parsed from its own bounds. */
#include "guestlib/examples/webd/http.h"

#include <string.h>
#include <strings.h>

struct text {
    const char *at, *end;
};

struct fields {
    unsigned hosts;
    bool content_length, transfer_encoding, if_range, close, keep_alive;
    uint64_t length;
    struct text range;
};

static size_t length_of(struct text text) {
    return (size_t)(text.end - text.at);
}

static bool equals(struct text text, const char *word) {
    return length_of(text) == strlen(word) && memcmp(text.at, word, length_of(text)) == 0;
}

static bool equals_caseless(struct text text, const char *word) {
    return length_of(text) == strlen(word) && strncasecmp(text.at, word, length_of(text)) == 0;
}

/* Cuts the part up to `separator` off; all of it if there is none. False: nothing is left. */
static bool cut(struct text *rest, char separator, struct text *part) {
    if (rest->at == rest->end)
        return false;
    const char *found = memchr(rest->at, separator, length_of(*rest));
    part->at = rest->at;
    part->end = found ? found : rest->end;
    rest->at = found ? found + 1 : rest->end;
    return true;
}

static struct text trim(struct text text) {
    while (text.at < text.end && (*text.at == ' ' || *text.at == '\t'))
        text.at++;
    while (text.at < text.end && (text.end[-1] == ' ' || text.end[-1] == '\t'))
        text.end--;
    return text;
}

static bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* RFC 9110, 5.6.2. */
static bool is_token(struct text text) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (const char *c = text.at; c < text.end; c++) {
        bool letter_or_digit =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!letter_or_digit && (*c == '\0' || !strchr(others, *c)))
            return false;
    }
    return text.at < text.end;
}

/* Decimal; false: not a number, or above 2^63. */
static bool parse_number(struct text text, uint64_t *value) {
    *value = 0;
    for (const char *c = text.at; c < text.end; c++) {
        if (*c < '0' || *c > '9' || *value > (UINT64_MAX / 2 - 9) / 10)
            return false;
        *value = *value * 10 + (uint64_t)(*c - '0');
    }
    return text.at < text.end;
}

/* --- the request line ----------------------------------------------------------------------------
 */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes %XX. Returns 200, 400 or 414. */
static unsigned decode(struct text text, char *path) {
    size_t length = 0;
    for (const char *c = text.at; c < text.end; c++) {
        unsigned char byte = (unsigned char)*c;
        if (*c == '%') {
            if (text.end - c < 3 || hex_digit(c[1]) < 0 || hex_digit(c[2]) < 0)
                return 400;
            byte = (unsigned char)(hex_digit(c[1]) << 4 | hex_digit(c[2]));
            c += 2;
        }
        if (byte < ' ' || byte == 0x7f)
            return 400;
        if (length == HTTP_PATH_BYTES_MAX - 1)
            return 414;
        path[length++] = (char)byte;
    }
    path[length] = '\0';
    return 200;
}

/* After decoding, so that %2e%2e is caught too. */
static bool climbs(const char *path) {
    struct text rest = {path, path + strlen(path)}, part;
    while (cut(&rest, '/', &part))
        if (equals(part, ".."))
            return true;
    return false;
}

/* "/path?query", or "http://host/path?query" as proxies ask. */
static unsigned parse_target(struct text target, char *path) {
    struct text plain, query = target;
    if (!cut(&query, '?', &plain))
        return 400;
    if (length_of(plain) > 7 && strncasecmp(plain.at, "http://", 7) == 0) {
        plain.at += 7;
        struct text host;
        cut(&plain, '/', &host);
    } else if (*plain.at++ != '/') {
        return 400;
    }
    unsigned status = decode(plain, path);
    return status == 200 && climbs(path) ? 400 : status;
}

static unsigned parse_version(struct text version, bool *is_1_0) {
    static const char name[] = "HTTP/";
    size_t skip = sizeof name - 1;
    if (length_of(version) != skip + 3 || memcmp(version.at, name, skip) != 0)
        return 400;
    const char *digits = version.at + skip;
    if (digits[0] < '0' || digits[0] > '9' || digits[1] != '.' || digits[2] < '0' ||
        digits[2] > '9')
        return 400;
    *is_1_0 = digits[2] == '0';
    return digits[0] == '1' ? 200 : 505;
}

/* RFC 9110, 15.5.6 and 15.6.2: 405 for a method we know and do not allow, 501 for others. */
static unsigned parse_method(struct text method, bool *head_only) {
    static const char *const known[] = {"POST",    "PUT",   "DELETE", "OPTIONS",
                                        "CONNECT", "TRACE", "PATCH"};
    *head_only = equals(method, "HEAD");
    if (*head_only || equals(method, "GET"))
        return 200;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (equals(method, known[i]))
            return 405;
    return is_token(method) ? 501 : 400;
}

static unsigned parse_request_line(struct text line, struct http_request *request, bool *is_1_0) {
    struct text method, target, version;
    if (!cut(&line, ' ', &method) || !cut(&line, ' ', &target) || !cut(&line, ' ', &version) ||
        line.at != line.end)
        return 400;
    unsigned status = parse_version(version, is_1_0);
    if (status != 200)
        return status;
    status = parse_method(method, &request->head_only);
    return status == 200 ? parse_target(target, request->path) : status;
}

/* --- fields --------------------------------------------------------------------------------------
 */

static void parse_connection(struct text value, struct fields *fields) {
    struct text option;
    while (cut(&value, ',', &option)) {
        option = trim(option);
        fields->close = fields->close || equals_caseless(option, "close");
        fields->keep_alive = fields->keep_alive || equals_caseless(option, "keep-alive");
    }
}

static bool parse_content_length(struct text value, struct fields *fields) {
    uint64_t length;
    if (!parse_number(value, &length) || (fields->content_length && fields->length != length))
        return false;
    fields->content_length = true;
    fields->length = length;
    return true;
}

/* False: malformed, which is 400. A line that continues the previous one is malformed too, and so
 * is a blank before the colon: both have been used to smuggle requests (RFC 9112, 5.1 and 5.2). */
static bool parse_field(struct text line, struct fields *fields) {
    struct text name;
    const char *colon = memchr(line.at, ':', length_of(line));
    if (!colon || !cut(&line, ':', &name) || !is_token(name))
        return false;
    struct text value = trim(line);
    for (const char *c = value.at; c < value.end; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return false;
    if (equals_caseless(name, "host"))
        fields->hosts++;
    else if (equals_caseless(name, "connection"))
        parse_connection(value, fields);
    else if (equals_caseless(name, "transfer-encoding"))
        fields->transfer_encoding = true;
    else if (equals_caseless(name, "if-range"))
        fields->if_range = true;
    else if (equals_caseless(name, "range"))
        fields->range = value;
    else if (equals_caseless(name, "content-length"))
        return parse_content_length(value, fields);
    return true;
}

/* One range of bytes. Anything else is ignored, as the standard allows: the answer is the whole. */
static void parse_range(struct text value, struct http_request *request) {
    struct text unit, first;
    const char *dash = memchr(value.at, '-', length_of(value));
    if (!dash || !cut(&value, '=', &unit) || !equals_caseless(trim(unit), "bytes"))
        return;
    cut(&value, '-', &first);
    struct text last = trim(value);
    first = trim(first);
    if (first.at == first.end) {
        if (parse_number(last, &request->range_last))
            request->range = HTTP_RANGE_LAST;
        return;
    }
    if (!parse_number(first, &request->range_first))
        return;
    if (last.at == last.end)
        request->range = HTTP_RANGE_FROM;
    else if (parse_number(last, &request->range_last) &&
             request->range_last >= request->range_first)
        request->range = HTTP_RANGE_FROM_TO;
}

/* --- the whole -----------------------------------------------------------------------------------
 */

/* A line ends with CR LF; a lone LF will do (RFC 9112, 2.2). */
static bool cut_line(struct text *rest, struct text *line) {
    const char *newline = memchr(rest->at, '\n', length_of(*rest));
    if (!newline)
        return false;
    line->at = rest->at;
    line->end = newline > rest->at && newline[-1] == '\r' ? newline - 1 : newline;
    rest->at = newline + 1;
    return true;
}

static bool has_body(const struct fields *fields) {
    return fields->transfer_encoding || fields->length > 0;
}

static unsigned check_fields(const struct fields *fields, bool is_1_0) {
    if (fields->hosts > 1 || (fields->hosts == 0 && !is_1_0))
        return 400;
    if (fields->transfer_encoding && fields->content_length)
        return 400;
    return 200;
}

/* Whether the next request's beginning is known after this one. */
static bool stream_is_clear(unsigned status, const struct fields *fields) {
    return !has_body(fields) && (status == 200 || status == 405 || status == 501 || status == 414);
}

static void parse_head(struct text head, struct http_request *request) {
    struct fields fields = {0};
    struct text line = head;
    bool is_1_0 = false, malformed = false;
    cut_line(&head, &line);
    request->status = parse_request_line(line, request, &is_1_0);
    while (cut_line(&head, &line) && line.at != line.end)
        malformed = malformed || !parse_field(line, &fields);
    unsigned of_fields = malformed ? 400 : check_fields(&fields, is_1_0);
    if (of_fields != 200 && request->status != 505)
        request->status = of_fields;
    if (request->status == 200 && has_body(&fields))
        request->status = 413; /* we take no content, and do not wait for it either */
    request->keep_alive = stream_is_clear(request->status, &fields) && !fields.close &&
                          (!is_1_0 || fields.keep_alive);
    /* We give no validators, so what If-Range names is never what we have: send the whole. */
    if (fields.range.at && !fields.if_range)
        parse_range(fields.range, request);
}

bool http_parse(const char *bytes, size_t count, struct http_request *request) {
    struct text all = {bytes, bytes + count}, line;
    memset(request, 0, sizeof *request);
    const char *start = all.at;
    while (cut_line(&all, &line) && line.at == line.end)
        start = all.at;
    all.at = start;
    bool complete = false;
    while (!complete && cut_line(&all, &line))
        complete = line.at == line.end;
    if (complete) {
        request->bytes = (size_t)(all.at - bytes);
        parse_head((struct text){start, all.at}, request);
        return true;
    }
    if (count < HTTP_HEAD_BYTES_MAX)
        return false;
    request->bytes = count;
    request->status = 431;
    return true;
}

unsigned http_part(const struct http_request *request, uint64_t bytes, uint64_t *first,
                   uint64_t *last) {
    *first = 0;
    *last = bytes - 1;
    switch (request->range) {
    case HTTP_RANGE_NONE:
        return 200;
    case HTTP_RANGE_LAST:
        if (request->range_last == 0 || bytes == 0)
            return 416;
        if (request->range_last < bytes)
            *first = bytes - request->range_last;
        return 206;
    case HTTP_RANGE_FROM_TO:
        if (request->range_last < *last)
            *last = request->range_last;
        break;
    case HTTP_RANGE_FROM:
        break;
    }
    *first = request->range_first;
    return *first < bytes ? 206 : 416;
}

void http_encode(const char *path, char encoded[static HTTP_ENCODED_BYTES_MAX]) {
    static const char digits[] = "0123456789ABCDEF";
    for (; *path; path++) {
        if (is_letter_or_digit(*path) || strchr("-._~/", *path)) {
            *encoded++ = *path;
        } else {
            *encoded++ = '%';
            *encoded++ = digits[(unsigned char)*path >> 4];
            *encoded++ = digits[(unsigned char)*path & 15];
        }
    }
    *encoded = '\0';
}

const char *http_reason(unsigned status) {
    switch (status) {
    case 200:
        return "OK";
    case 206:
        return "Partial Content";
    case 301:
        return "Moved Permanently";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 416:
        return "Range Not Satisfiable";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Error";
    }
}

const char *http_content_type(const char *name) {
    static const struct {
        const char *ending, *type;
    } types[] = {
        {".html", "text/html; charset=utf-8"},
        {".css", "text/css; charset=utf-8"},
        {".js", "text/javascript; charset=utf-8"},
        {".json", "application/json"},
        {".txt", "text/plain; charset=utf-8"},
        {".xml", "application/xml"},
        {".svg", "image/svg+xml"},
        {".png", "image/png"},
        {".jpg", "image/jpeg"},
        {".gif", "image/gif"},
        {".ico", "image/vnd.microsoft.icon"},
        {".pdf", "application/pdf"},
        {".wasm", "application/wasm"},
    };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof types[0]; i++)
        if (strcasecmp(dot, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}
