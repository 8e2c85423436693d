#include "exchange.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#define LOOK_SECONDS 0.05

static void say(const char *word)
{
    puts(word);
    fflush(stdout);
}

static void measure(struct load *load, int on)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    double seconds = (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
    load->counts->cpu_seconds = on ? seconds : seconds - load->counts->cpu_seconds;
    load->measuring = on;
    *(on ? &load->counts->measured_from : &load->counts->measured_to) = load->now;
    say(on ? "measuring" : "measured");
}

/* Move on what goes by the clock; returns 0 when all is over. */
static int keep_time(struct load *load, double begun, long alive)
{
    const struct settings *settings = load->settings;
    struct counts *counts = load->counts;
    if (!load->measuring && counts->measured_from == 0 && load->now >= begun + settings->warmup)
        measure(load, 1);
    if (settings->term_pid > 0 && !load->terminated && load->now >= begun + settings->term_after) {
        counts->term_at = load->now;
        load->terminated = 1;
        if (kill(settings->term_pid, SIGTERM) != 0) {
            perror("SIGTERM");
            exit(2);
        }
    }
    int over = load->terminated ? load->now >= counts->term_at + settings->term_limit : settings->term_pid == 0 && load->now >= begun + settings->warmup + settings->seconds;
    if ((over || load->stopping || alive == 0) && load->measuring)
        measure(load, 0);
    if (over && load->terminated && !load->stopping)
        counts->kept_open = (uint64_t)alive;
    load->stopping |= over;
    /* Measured loads end at once; after SIGTERM, and where requests are counted, answers on their way are waited for. */
    int wait_for_answers = settings->term_pid > 0 || settings->most_requests > 0;
    return alive > 0 && !(load->stopping && !wait_for_answers);
}

void drive(const struct settings *settings, const struct request_set *set, struct counts *counts)
{
    struct load load = {.settings = settings, .set = set, .counts = counts, .epoll = epoll_create1(EPOLL_CLOEXEC)};
    struct epoll_event events[256];
    load.connections = calloc((size_t)settings->connections, sizeof *load.connections);
    if (load.epoll < 0 || load.connections == NULL) {
        perror("the load's connections");
        exit(2);
    }
    double begun = load.now = clock_now(), next_look = begun;
    load.waiting = (size_t)settings->connections;
    for (long index = 0; index < settings->connections; index++)
        load.connections[index].file = -1;
    for (;;) {
        load.now = clock_now();
        if (load.waiting > 0 || load.now >= next_look || load.stopping) {
            long alive = look_over(&load);
            next_look = load.now + LOOK_SECONDS;
            if (!keep_time(&load, begun, alive))
                break;
        }
        int seen = epoll_wait(load.epoll, events, 256, load.waiting > 0 ? 2 : 10);
        load.now = clock_now();
        for (int index = 0; index < seen; index++)
            event_seen(&load, events[index].data.ptr, events[index].events);
    }
}
