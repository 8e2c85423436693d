/* What the parts of the load generator share. One thread, one epoll, loopback only. Times are seconds of CLOCK_MONOTONIC. */
#ifndef SAGEBRUSH_LOAD_H
#define SAGEBRUSH_LOAD_H

#include <stddef.h>
#include <stdint.h>

/* --- the prepared requests (requests.c) --- */

enum rule { RULE_BYTES = 0, RULE_NUMBERS = 1 };

struct request {
    const char *bytes;
    size_t length;
    enum rule rule;
    const char *expected;      /* RULE_BYTES: the whole body */
    size_t expected_length;
    const double *numbers;     /* RULE_NUMBERS: the numbers in the body behind the anchor, in their order */
    size_t count;
};

struct request_set {
    struct request *requests;
    size_t count;
    double tolerance;          /* of a number: absolute below 1, relative above */
    const char *anchor;        /* numbers before this text are not looked at; NULL: from the start */
    size_t anchor_length;
};

/* Read the file that benchmarks/model_server/load.py wrote; ends the process with a message where it is not one. */
void read_requests(const char *path, struct request_set *set);

/* --- one answer (answer.c) --- */

enum verdict { MORE, COMPLETE, MALFORMED };

struct answer {
    size_t scanned;            /* bytes in which the end of the header was looked for */
    size_t header_length;      /* 0 until the header is complete */
    int status;
    long long content_length;  /* -1: not given */
    int chunked, close;
    char *body;                /* set once COMPLETE; inside the connection's buffer */
    size_t body_length;
    size_t length;             /* bytes of the whole answer */
    size_t chunk_at, body_end; /* where chunks are read and where the text of the earlier ones ends */
};

void answer_begin(struct answer *answer);
/* `ended`: the server closed, which completes an answer of no stated length. Chunks are joined in place. */
enum verdict answer_read(struct answer *answer, char *buffer, size_t length, int ended);
/* 1 where the body is what it must be. */
int body_is_right(const struct request_set *set, const struct request *request, const char *body, size_t length);

/* --- latencies, in nanoseconds, to 0.8 % (histogram.c) --- */

#define HISTOGRAM_BUCKETS 7424
struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count, longest;
    double sum;
};
void histogram_add(struct histogram *histogram, uint64_t nanoseconds);
double histogram_quantile(const struct histogram *histogram, double share); /* nanoseconds; 0 where it is empty */

#endif
