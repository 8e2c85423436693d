#define _GNU_SOURCE
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "load.h"

#define LONGEST_HEADER 65536

void answer_begin(struct answer *answer)
{
    memset(answer, 0, sizeof *answer);
    answer->content_length = -1;
}

static int value_has(const char *value, const char *end, const char *word)
{
    size_t length = strlen(word);
    for (; value + length <= end; value++)
        if (strncasecmp(value, word, length) == 0)
            return 1;
    return 0;
}

static enum verdict read_header(struct answer *answer, const char *buffer, const char *end)
{
    if (end - buffer < 12 || memcmp(buffer, "HTTP/1.", 7) != 0)
        return MALFORMED;
    answer->status = atoi(buffer + 9);
    answer->close = buffer[7] == '0';
    const char *line = memchr(buffer, '\n', (size_t)(end - buffer));
    while (line != NULL && ++line < end) {
        const char *next = memchr(line, '\n', (size_t)(end - line));
        const char *last = next != NULL ? next : end;
        if ((*line == 'c' || *line == 'C') && last - line > 15 && strncasecmp(line, "content-length:", 15) == 0)
            answer->content_length = atoll(line + 15);
        else if ((*line == 'c' || *line == 'C') && last - line > 11 && strncasecmp(line, "connection:", 11) == 0)
            answer->close = value_has(line + 11, last, "close") || (answer->close && !value_has(line + 11, last, "keep-alive"));
        else if ((*line == 't' || *line == 'T') && last - line > 18 && strncasecmp(line, "transfer-encoding:", 18) == 0)
            answer->chunked = value_has(line + 18, last, "chunked");
        line = next;
    }
    answer->chunk_at = answer->body_end = answer->header_length;
    return COMPLETE;
}

static enum verdict complete(struct answer *answer, char *buffer, size_t body_length, size_t length)
{
    answer->body = buffer + answer->header_length;
    answer->body_length = body_length;
    answer->length = length;
    return COMPLETE;
}

static enum verdict read_chunks(struct answer *answer, char *buffer, size_t length)
{
    for (;;) {
        char *size_line = buffer + answer->chunk_at;
        char *line_end = memchr(size_line, '\n', length - answer->chunk_at);
        if (line_end == NULL)
            return MORE;
        char *digits_end;
        unsigned long long size = strtoull(size_line, &digits_end, 16);
        if (digits_end == size_line || size > (1ull << 40))
            return MALFORMED;
        size_t data = (size_t)(line_end + 1 - buffer);
        if (size == 0) { /* trailers are not used by any server here: an empty line ends the answer */
            if (length < data + 2)
                return MORE;
            if (memcmp(buffer + data, "\r\n", 2) != 0)
                return MALFORMED;
            return complete(answer, buffer, answer->body_end - answer->header_length, data + 2);
        }
        if (length < data + size + 2)
            return MORE;
        memmove(buffer + answer->body_end, buffer + data, size);
        answer->body_end += size;
        answer->chunk_at = data + size + 2;
    }
}

enum verdict answer_read(struct answer *answer, char *buffer, size_t length, int ended)
{
    if (answer->header_length == 0) {
        size_t from = answer->scanned > 3 ? answer->scanned - 3 : 0;
        char *end = memmem(buffer + from, length - from, "\r\n\r\n", 4);
        answer->scanned = length;
        if (end == NULL)
            return length > LONGEST_HEADER ? MALFORMED : MORE;
        answer->header_length = (size_t)(end + 4 - buffer);
        if (read_header(answer, buffer, end + 2) == MALFORMED)
            return MALFORMED;
    }
    if (answer->chunked)
        return read_chunks(answer, buffer, length);
    if (answer->content_length >= 0 || answer->status == 204 || answer->status == 304) {
        size_t body = answer->content_length > 0 ? (size_t)answer->content_length : 0;
        if (length - answer->header_length < body)
            return MORE;
        return complete(answer, buffer, body, answer->header_length + body);
    }
    if (!ended)
        return MORE;
    answer->close = 1;
    return complete(answer, buffer, length - answer->header_length, length);
}

static const double POWERS[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* Exact to a few units in the last place, which is far below any tolerance, and several times quicker than strtod. */
static const char *read_number(const char *at, const char *end, double *number)
{
    int negative = at < end && *at == '-', digits = 0, exponent = 0;
    uint64_t value = 0;
    at += negative;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (digits < 18) { value = value * 10 + (uint64_t)(*at - '0'); digits += value > 0; } else exponent++;
    }
    if (at < end && *at == '.')
        for (at++; at < end && *at >= '0' && *at <= '9'; at++)
            if (digits < 18) { value = value * 10 + (uint64_t)(*at - '0'); digits += value > 0; exponent--; }
    if (at < end && (*at == 'e' || *at == 'E')) {
        const char *power = at + 1;
        int below = power < end && *power == '-', stated = 0;
        if (power < end && (*power == '-' || *power == '+'))
            power++;
        for (; power < end && *power >= '0' && *power <= '9'; power++)
            if (stated < 10000)
                stated = stated * 10 + (*power - '0');
        exponent += below ? -stated : stated;
        at = power;
    }
    double found = (double)value;
    if (exponent < 0)
        found = exponent >= -22 ? found / POWERS[-exponent] : found * pow(10, exponent);
    else if (exponent > 0)
        found = exponent <= 22 ? found * POWERS[exponent] : found * pow(10, exponent);
    *number = negative ? -found : found;
    return at;
}

static int numbers_are_right(const struct request_set *set, const struct request *request, const char *body, size_t length)
{
    const char *at = body, *end = body + length;
    size_t seen = 0;
    if (set->anchor_length) {
        at = memmem(body, length, set->anchor, set->anchor_length);
        if (at == NULL)
            return 0;
        at += set->anchor_length;
    }
    while (at < end) {
        if (*at == '"') { /* names of JSON members may hold digits */
            const char *close = memchr(at + 1, '"', (size_t)(end - at - 1));
            at = close == NULL ? end : close + 1;
        } else if ((*at >= '0' && *at <= '9') || *at == '-') {
            double number;
            at = read_number(at, end, &number);
            if (seen == request->count)
                return 0;
            double expected = request->numbers[seen++], size = fabs(expected) > 1 ? fabs(expected) : 1;
            if (!(fabs(number - expected) <= set->tolerance * size))
                return 0;
        } else {
            at++;
        }
    }
    return seen == request->count;
}

int body_is_right(const struct request_set *set, const struct request *request, const char *body, size_t length)
{
    if (request->rule == RULE_NUMBERS)
        return numbers_are_right(set, request, body, length);
    return length == request->expected_length && memcmp(body, request->expected, length) == 0;
}
