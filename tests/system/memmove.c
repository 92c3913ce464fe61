/* Every length up to a few blocks, from and to every place of a buffer, overlapping in either direction, beside copies of single
 * bytes. What lies around must stay. Exits 1 at the first difference. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { SIZE = 640, LEN_MAX = 300 };

static unsigned char memory[SIZE], expected[SIZE], before[SIZE];

static int differs(void *(*volatile copy)(void *, const void *, size_t), const char *name, size_t to, size_t from, size_t n) {
    for (size_t i = 0; i < SIZE; i++) memory[i] = expected[i] = before[i] = (unsigned char)(i * 131 >> 3 ^ i);
    for (size_t i = 0; i < n; i++) expected[to + i] = before[from + i];
    int moved = copy(memory + to, memory + from, n) != memory + to;
    for (size_t i = 0; i < SIZE; i++) moved |= memory[i] != expected[i];
    if (moved) fprintf(stderr, "%s of %zu bytes from %zu to %zu\n", name, n, from, to);
    return moved;
}

int main(void) {
    for (size_t n = 0; n <= LEN_MAX; n++)
        for (size_t from = 0; from <= 320; from += 1 + from / 40)
            for (size_t to = 0; to <= 320; to += 1 + to / 48) {
                int apart = from + n <= to || to + n <= from;
                if (differs(memmove, "memmove", to, from, n) || (apart && differs(memcpy, "memcpy", to, from, n))) return 1;
            }
    return 0;
}
