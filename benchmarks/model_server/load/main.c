/* A load generator quick enough not to be the limit: keep-alive connections to a server on this machine, each with one
 * request in flight, every answer verified. Built and driven by benchmarks/model_server/load.py. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "exchange.h"

static double number(const char *name, const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= least && value <= most)) {
        fprintf(stderr, "--%s %s: must be a number from %g to %g\n", name, text, least, most);
        exit(2);
    }
    return value;
}

static struct settings parse(int count, char **words)
{
    static const struct option OPTIONS[] = {
        {"port", required_argument, NULL, 'p'}, {"requests", required_argument, NULL, 'f'},
        {"connections", required_argument, NULL, 'c'}, {"seconds", required_argument, NULL, 's'},
        {"warmup", required_argument, NULL, 'w'}, {"timeout", required_argument, NULL, 't'},
        {"most-requests", required_argument, NULL, 'n'}, {"term-pid", required_argument, NULL, 'k'},
        {"term-after", required_argument, NULL, 'a'}, {"reconnect-for", required_argument, NULL, 'r'},
        {"term-limit", required_argument, NULL, 'l'}, {NULL, 0, NULL, 0},
    };
    struct settings settings = {.connections = 64, .seconds = 5, .timeout = 10, .term_after = 2, .reconnect_for = 1, .term_limit = 10};
    int option, index;
    while ((option = getopt_long(count, words, "", OPTIONS, &index)) != -1) {
        const char *name = option == '?' ? "" : OPTIONS[index].name;
        switch (option) {
        case 'p': settings.port = (int)number(name, optarg, 1, 65535); break;
        case 'f': settings.requests = optarg; break;
        case 'c': settings.connections = (long)number(name, optarg, 1, 100000); break;
        case 's': settings.seconds = number(name, optarg, 0.01, 3600); break;
        case 'w': settings.warmup = number(name, optarg, 0, 600); break;
        case 't': settings.timeout = number(name, optarg, 0.01, 600); break;
        case 'n': settings.most_requests = (long long)number(name, optarg, 1, 1e12); break;
        case 'k': settings.term_pid = (pid_t)number(name, optarg, 2, 1e9); break;
        case 'a': settings.term_after = number(name, optarg, 0, 600); break;
        case 'r': settings.reconnect_for = number(name, optarg, 0, 600); break;
        case 'l': settings.term_limit = number(name, optarg, 0, 600); break;
        default: exit(2);
        }
    }
    if (settings.port == 0 || settings.requests == NULL || optind != count) {
        fprintf(stderr, "needed: --port N --requests FILE; there are no other arguments than options\n");
        exit(2);
    }
    return settings;
}

static void print_text(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            printf("\\%c", byte);
        else if (byte < 0x20 || byte > 0x7e)
            printf("\\u%04x", byte);
        else
            putchar(byte);
    }
    putchar('"');
}

static void print_counts(const struct counts *counts)
{
#define COUNT(name) printf("\"%s\": %llu, ", #name, (unsigned long long)counts->name)
#define MOMENT(name) printf("\"%s\": %.9f, ", #name, counts->name)
    putchar('{');
    COUNT(answered); COUNT(measured); COUNT(wrong_body); COUNT(wrong_status); COUNT(malformed); COUNT(broken);
    COUNT(broken_midway); COUNT(unsent); COUNT(refused); COUNT(connect_failed); COUNT(timed_out); COUNT(closed_by_server);
    COUNT(connects); COUNT(bytes); COUNT(answered_after_term); COUNT(cut); COUNT(cut_midway); COUNT(unsent_after_term);
    COUNT(refused_after_term); COUNT(accepted_after_term); COUNT(kept_open);
    MOMENT(measured_from); MOMENT(measured_to); MOMENT(term_at); MOMENT(last_answer_at); MOMENT(first_refused_at);
    MOMENT(cpu_seconds);
    const struct histogram *latencies = &counts->latencies;
    static const struct { const char *name; double share; } QUANTILES[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    printf("\"latency_ms\": {");
    for (size_t index = 0; index < sizeof QUANTILES / sizeof *QUANTILES; index++)
        printf("\"%s\": %.6f, ", QUANTILES[index].name, histogram_quantile(latencies, QUANTILES[index].share) / 1e6);
    printf("\"mean\": %.6f, \"max\": %.6f}, ", latencies->count ? latencies->sum / (double)latencies->count / 1e6 : 0, (double)latencies->longest / 1e6);
    printf("\"samples\": [");
    for (int index = 0; index < counts->sampled; index++) {
        printf(index ? ", " : "");
        print_text(counts->samples[index]);
    }
    printf("]}\n");
}

int main(int count, char **words)
{
    struct settings settings = parse(count, words);
    struct request_set set;
    static struct counts counts;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < (rlim_t)settings.connections + 64) {
        files.rlim_cur = (rlim_t)settings.connections + 64;
        if (files.rlim_max < files.rlim_cur)
            files.rlim_max = files.rlim_cur;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
            fprintf(stderr, "%ld connections need as many open files: %s\n", settings.connections, strerror(errno));
            return 2;
        }
    }
    read_requests(settings.requests, &set);
    drive(&settings, &set, &counts);
    print_counts(&counts);
    return 0;
}
