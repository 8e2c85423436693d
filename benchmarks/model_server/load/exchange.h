/* The connections and the loop that drives them. */
#ifndef SAGEBRUSH_EXCHANGE_H
#define SAGEBRUSH_EXCHANGE_H

#include <sys/types.h>

#include "load.h"

#define SAMPLES 5

struct settings {
    int port;
    const char *requests;
    long connections;
    double seconds, warmup, timeout;
    long long most_requests;   /* 0: no limit but the time */
    pid_t term_pid;            /* 0: no SIGTERM */
    double term_after;         /* from the start */
    double reconnect_for;      /* after SIGTERM closed connections are opened anew for that long */
    double term_limit;         /* after SIGTERM connections that are still served are given up after that long */
};

/* Errors are counted from the first request on, the warm-up included; latencies and answers in the measured time only. */
struct counts {
    uint64_t answered, measured;
    uint64_t wrong_body, wrong_status, malformed;
    uint64_t broken;           /* the connection ended after the whole request was sent, before the whole answer */
    uint64_t broken_midway;    /* of those: part of the answer had come */
    uint64_t unsent;           /* the connection ended before the whole request was sent */
    uint64_t refused, connect_failed, timed_out;
    uint64_t closed_by_server; /* in order: after an answer with `Connection: close` */
    uint64_t connects, bytes;
    /* After SIGTERM. Answers cut are `broken` from then on. */
    uint64_t answered_after_term, cut, cut_midway, unsent_after_term, refused_after_term, accepted_after_term, kept_open;
    double measured_from, measured_to, term_at, last_answer_at, first_refused_at;
    double cpu_seconds;        /* of this program in the measured time */
    char *samples[SAMPLES];    /* what was wrong, for people */
    int sampled;
    struct histogram latencies;
};

enum state { CLOSED, CONNECTING, SENDING, READING, DONE };

struct connection {
    int file;
    enum state state;
    int watches_writing;
    double due;                /* CLOSED: when to open it again */
    double begun;              /* when the connect, or the sending of the request, began */
    const struct request *request;
    size_t sent;
    char *buffer;
    size_t length, room;
    struct answer answer;
};

struct load {
    const struct settings *settings;
    const struct request_set *set;
    struct counts *counts;
    struct connection *connections;
    int epoll;
    size_t next, waiting;      /* the next request; connections that wait to be opened */
    long long asked;
    double now;
    int measuring, stopping, terminated;
};

double clock_now(void);
/* Something happened on the connection (connection.c). */
void event_seen(struct load *load, struct connection *connection, uint32_t events);
/* Open what is due, give up what takes too long; returns the number of connections that are open or will be. */
long look_over(struct load *load);

/* Drive the load to its end. Prints "measuring" and "measured" on stdout at the two ends of the measured time. */
void drive(const struct settings *settings, const struct request_set *set, struct counts *counts);

#endif
