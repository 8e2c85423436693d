#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load.h"

static const char MAGIC[8] = "SBLOAD1\n";

struct reader { const char *at, *end, *path; };

static const void *take(struct reader *reader, size_t bytes)
{
    const char *found = reader->at;
    if (bytes > (size_t)(reader->end - reader->at)) {
        fprintf(stderr, "%s is cut short\n", reader->path);
        exit(2);
    }
    /* Everything begins at a multiple of eight, so that numbers can be read where they lie. */
    size_t padded = (bytes + 7) & ~(size_t)7;
    reader->at += padded < (size_t)(reader->end - reader->at) ? padded : (size_t)(reader->end - reader->at);
    return found;
}

static uint64_t take_size(struct reader *reader)
{
    uint64_t value;
    memcpy(&value, take(reader, sizeof value), sizeof value);
    return value;
}

void read_requests(const char *path, struct request_set *set)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (file < 0 || fstat(file, &about) != 0) {
        perror(path);
        exit(2);
    }
    void *mapped = about.st_size > 0 ? mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0) : MAP_FAILED;
    close(file);
    if (mapped == MAP_FAILED || about.st_size < 8 || memcmp(mapped, MAGIC, 8) != 0) {
        fprintf(stderr, "%s holds no prepared requests\n", path);
        exit(2);
    }
    struct reader reader = {(const char *)mapped + 8, (const char *)mapped + about.st_size, path};
    memcpy(&set->tolerance, take(&reader, 8), 8);
    set->anchor_length = take_size(&reader);
    set->anchor = set->anchor_length ? take(&reader, set->anchor_length) : NULL;
    set->count = take_size(&reader);
    if (set->count == 0 || set->count > 10000000) {
        fprintf(stderr, "%s: %zu requests\n", path, set->count);
        exit(2);
    }
    set->requests = calloc(set->count, sizeof *set->requests);
    if (set->requests == NULL) {
        perror("memory for the requests");
        exit(2);
    }
    for (size_t index = 0; index < set->count; index++) {
        struct request *request = &set->requests[index];
        request->length = take_size(&reader);
        request->bytes = take(&reader, request->length);
        request->rule = (enum rule)take_size(&reader);
        size_t length = take_size(&reader);
        if (request->rule == RULE_NUMBERS) {
            request->count = length / sizeof(double);
            request->numbers = take(&reader, length);
        } else {
            request->expected_length = length;
            request->expected = take(&reader, length);
        }
    }
}
