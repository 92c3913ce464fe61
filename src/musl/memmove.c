/* memcpy and memmove for x86_64 on musl. Its own begin with `rep movs`, which takes dozens of cycles before the first byte is copied;
 * records are put together from pieces of ten bytes, and half of the program's time went there. Up to 128 bytes, all is loaded
 * before any is stored, and head and tail may overlap; beyond, blocks of 64, from the end where an overlap wants it. */
#include <stddef.h>
#include <stdint.h>

/* Words at any address, over memory of any type. */
#define WORD(name, type) typedef type name __attribute__((aligned(1), may_alias))
WORD(word2, uint16_t);
WORD(word4, uint32_t);
WORD(word8, uint64_t);
typedef long long word16 __attribute__((vector_size(16), aligned(1), may_alias));

#define AT(word, pointer) (*(word *)(pointer))

/* `n` bytes as `count` words at the front and as many at the back. */
#define COPY_ENDS(word, count)                                        \
    do {                                                              \
        word head[count], tail[count];                                \
        for (size_t i = 0; i < (count); i++) {                        \
            head[i] = AT(word, from + i * sizeof(word));              \
            tail[i] = AT(word, from + n - (i + 1) * sizeof(word));    \
        }                                                             \
        for (size_t i = 0; i < (count); i++) {                        \
            AT(word, to + i * sizeof(word)) = head[i];                \
            AT(word, to + n - (i + 1) * sizeof(word)) = tail[i];      \
        }                                                             \
    } while (0)

enum { BLOCK = 64, WORDS = BLOCK / sizeof(word16) };

static inline void load(word16 block[WORDS], const unsigned char *from) {
    for (size_t i = 0; i < WORDS; i++) block[i] = AT(const word16, from + i * sizeof(word16));
}

static inline void store(unsigned char *to, const word16 block[WORDS]) {
    for (size_t i = 0; i < WORDS; i++) AT(word16, to + i * sizeof(word16)) = block[i];
}

/* More than a block. */
static void copy_blocks(unsigned char *to, const unsigned char *from, size_t n) {
    word16 block[WORDS], last[WORDS];
    if ((uintptr_t)to - (uintptr_t)from >= n) { /* `to` does not lie within what is still to be read */
        load(last, from + n - BLOCK);
        for (size_t at = 0; at < n - BLOCK; at += BLOCK) {
            load(block, from + at);
            store(to + at, block);
        }
        store(to + n - BLOCK, last);
    } else {
        load(last, from);
        for (size_t end = n; end > BLOCK; end -= BLOCK) {
            load(block, from + end - BLOCK);
            store(to + end - BLOCK, block);
        }
        store(to, last);
    }
}

void *memmove(void *dest, const void *src, size_t n) {
    unsigned char *to = dest;
    const unsigned char *from = src;
    if (n > 128) copy_blocks(to, from, n);
    else if (n > 64) COPY_ENDS(word16, 4);
    else if (n > 32) COPY_ENDS(word16, 2);
    else if (n >= 16) COPY_ENDS(word16, 1);
    else if (n >= 8) COPY_ENDS(word8, 1);
    else if (n >= 4) COPY_ENDS(word4, 1);
    else if (n >= 2) COPY_ENDS(word2, 1);
    else if (n) *to = *from;
    return dest;
}

void *memcpy(void *dest, const void *src, size_t n) __attribute__((alias("memmove")));
