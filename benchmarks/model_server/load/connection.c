#define _GNU_SOURCE
#include "exchange.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKOFF_SECONDS 0.01
#define FIRST_BUFFER 4096

double clock_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void sample(struct load *load, const char *what, const char *text, size_t length)
{
    if (load->counts->sampled == SAMPLES)
        return;
    if (length > 300)
        length = 300;
    if (asprintf(&load->counts->samples[load->counts->sampled], "%s: %.*s", what, (int)length, text) >= 0)
        load->counts->sampled++;
}

static void end_connection(struct load *load, struct connection *connection, double pause)
{
    if (connection->file >= 0)
        close(connection->file);
    connection->file = -1;
    connection->length = 0;
    connection->watches_writing = 0;
    /* A new one takes its place, but for the end and for the time in which clients have learnt that this server leaves. */
    int again = !load->stopping && (!load->terminated || load->now < load->counts->term_at + load->settings->reconnect_for);
    connection->state = again ? CLOSED : DONE;
    if (again) {
        connection->due = load->now + pause;
        load->waiting++;
    }
}

static void count_broken(struct load *load, struct connection *connection)
{
    struct counts *counts = load->counts;
    if (connection->state == READING) {
        *(load->terminated ? &counts->cut : &counts->broken) += 1;
        if (connection->length > 0)
            *(load->terminated ? &counts->cut_midway : &counts->broken_midway) += 1;
    } else {
        *(load->terminated ? &counts->unsent_after_term : &counts->unsent) += 1;
    }
}

static void watch(struct load *load, struct connection *connection, int operation, int writing)
{
    struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0), .data.ptr = connection};
    if (operation == EPOLL_CTL_MOD && connection->watches_writing == writing)
        return;
    connection->watches_writing = writing;
    if (epoll_ctl(load->epoll, operation, connection->file, &event) != 0) {
        perror("epoll_ctl");
        exit(2);
    }
}

static void send_rest(struct load *load, struct connection *connection)
{
    const struct request *request = connection->request;
    while (connection->sent < request->length) {
        ssize_t sent = send(connection->file, request->bytes + connection->sent, request->length - connection->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            watch(load, connection, EPOLL_CTL_MOD, 1);
            return;
        }
        if (sent < 0) {
            count_broken(load, connection);
            end_connection(load, connection, BACKOFF_SECONDS);
            return;
        }
        connection->sent += (size_t)sent;
    }
    watch(load, connection, EPOLL_CTL_MOD, 0);
    connection->state = READING;
}

static void ask(struct load *load, struct connection *connection)
{
    long long most = load->settings->most_requests;
    if (most > 0 && load->asked >= most) {
        load->stopping = 1;
        end_connection(load, connection, 0);
        return;
    }
    load->asked++;
    connection->request = &load->set->requests[load->next];
    load->next = load->next + 1 == load->set->count ? 0 : load->next + 1;
    connection->sent = 0;
    connection->state = SENDING;
    connection->begun = clock_now();
    answer_begin(&connection->answer);
    send_rest(load, connection);
}

static void refused(struct load *load, struct connection *connection, int problem)
{
    struct counts *counts = load->counts;
    if (problem != ECONNREFUSED)
        counts->connect_failed++;
    else if (!load->terminated)
        counts->refused++;
    else {
        if (counts->refused_after_term++ == 0)
            counts->first_refused_at = load->now;
    }
    if (problem != ECONNREFUSED)
        sample(load, "a connect failed", strerror(problem), strlen(strerror(problem)));
    end_connection(load, connection, BACKOFF_SECONDS);
}

static void connected(struct load *load, struct connection *connection)
{
    load->counts->connects++;
    if (load->terminated)
        load->counts->accepted_after_term++;
    ask(load, connection);
}

static void open_connection(struct load *load, struct connection *connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load->settings->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    connection->begun = load->now;
    connection->file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->file < 0) {
        perror("socket (is the limit of open files high enough?)");
        exit(2);
    }
    setsockopt(connection->file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection->state = CONNECTING;
    int failed = connect(connection->file, (struct sockaddr *)&address, sizeof address);
    if (failed && errno != EINPROGRESS) {
        refused(load, connection, errno);
        return;
    }
    watch(load, connection, EPOLL_CTL_ADD, 1);
    if (!failed)
        connected(load, connection);
}

static void check(struct load *load, const struct connection *connection, double now)
{
    struct counts *counts = load->counts;
    const struct answer *answer = &connection->answer;
    counts->answered++;
    counts->bytes += answer->length;
    counts->last_answer_at = now;
    if (load->terminated)
        counts->answered_after_term++;
    if (answer->status != 200) {
        counts->wrong_status++;
        sample(load, "not a 200", connection->buffer, connection->length);
    } else if (connection->length > answer->length) {
        counts->malformed++;
        sample(load, "bytes behind the answer", connection->buffer + answer->length, connection->length - answer->length);
    } else if (!body_is_right(load->set, connection->request, answer->body, answer->body_length)) {
        counts->wrong_body++;
        sample(load, "not the right answer", answer->body, answer->body_length);
    }
    if (load->measuring) {
        counts->measured++;
        histogram_add(&counts->latencies, (uint64_t)((now - connection->begun) * 1e9));
    }
}

static void read_answer(struct load *load, struct connection *connection)
{
    int ended = 0;
    for (;;) {
        if (connection->room - connection->length < FIRST_BUFFER / 2) {
            connection->room = connection->room ? connection->room * 2 : FIRST_BUFFER;
            connection->buffer = realloc(connection->buffer, connection->room);
            if (connection->buffer == NULL) {
                perror("memory for an answer");
                exit(2);
            }
        }
        size_t room = connection->room - connection->length;
        ssize_t got = recv(connection->file, connection->buffer + connection->length, room, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            break;
        if (got <= 0) {
            ended = 1;
            break;
        }
        connection->length += (size_t)got;
        if ((size_t)got < room)
            break;
    }
    enum verdict verdict = connection->state == READING && connection->length > 0 ? answer_read(&connection->answer, connection->buffer, connection->length, ended) : MORE;
    if (verdict == COMPLETE) {
        check(load, connection, clock_now());
        connection->length = 0;
        if (ended || connection->answer.close || load->stopping) {
            load->counts->closed_by_server += connection->answer.close || ended;
            end_connection(load, connection, 0);
        } else {
            ask(load, connection);
        }
    } else if (verdict == MALFORMED || (connection->length > 0 && connection->state != READING)) {
        load->counts->malformed++;
        sample(load, "not an HTTP answer", connection->buffer, connection->length);
        end_connection(load, connection, BACKOFF_SECONDS);
    } else if (ended) {
        count_broken(load, connection);
        end_connection(load, connection, BACKOFF_SECONDS);
    }
}

void event_seen(struct load *load, struct connection *connection, uint32_t events)
{
    if (connection->state == CONNECTING) {
        int problem = 0;
        socklen_t size = sizeof problem;
        getsockopt(connection->file, SOL_SOCKET, SO_ERROR, &problem, &size);
        if (problem != 0)
            refused(load, connection, problem);
        else if (events & EPOLLOUT)
            connected(load, connection);
        return;
    }
    if (connection->state == SENDING && (events & EPOLLOUT))
        send_rest(load, connection);
    if ((connection->state == SENDING || connection->state == READING) && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        read_answer(load, connection);
}

long look_over(struct load *load)
{
    long alive = 0;
    for (long index = 0; index < load->settings->connections; index++) {
        struct connection *connection = &load->connections[index];
        if (connection->state == CLOSED && load->now >= connection->due) {
            load->waiting--;
            if (load->stopping || (load->terminated && load->now >= load->counts->term_at + load->settings->reconnect_for))
                connection->state = DONE;
            else
                open_connection(load, connection);
        } else if (connection->state != CLOSED && connection->state != DONE && load->now - connection->begun > load->settings->timeout) {
            load->counts->timed_out++;
            end_connection(load, connection, BACKOFF_SECONDS);
        }
        alive += connection->state != DONE;
    }
    return alive;
}
