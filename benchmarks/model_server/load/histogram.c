#include "load.h"

/* 128 buckets for each power of two: the bucket of v is known from its eight leading bits. */
void histogram_add(struct histogram *histogram, uint64_t nanoseconds)
{
    size_t index = nanoseconds;
    if (nanoseconds >= 256) {
        int shift = 56 - __builtin_clzll(nanoseconds);
        index = (size_t)shift * 128 + (size_t)(nanoseconds >> shift);
    }
    histogram->buckets[index]++;
    histogram->count++;
    histogram->sum += (double)nanoseconds;
    if (nanoseconds > histogram->longest)
        histogram->longest = nanoseconds;
}

double histogram_quantile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count + 0.999999), seen = 0;
    if (wanted < 1)
        wanted = 1;
    for (size_t index = 0; index < HISTOGRAM_BUCKETS; index++) {
        seen += histogram->buckets[index];
        if (seen >= wanted && seen > 0) {
            if (index < 256)
                return (double)index;
            int shift = (int)(index / 128) - 1;
            double lowest = (double)((uint64_t)(index - (size_t)shift * 128) << shift);
            return lowest + (double)((uint64_t)1 << shift) / 2;
        }
    }
    return 0;
}
