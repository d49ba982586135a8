/* Walks the B-trees of an LMDB 0.9 file of a 64-bit machine, through plain reads, and checks all that LMDB
 * relies on: that page numbers, offsets and sizes stay inside the file and the page, that no page is used
 * twice, and that keys are in order: LMDB ends the process, or hands out a page again, where they are not. */
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0xBEEFC0DEu
enum { DATA_VERSION = 1, DEEPEST = 32 };
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 }; /* no other flag is on the disk */
enum { FREE_FLAGS = 0x4008 }; /* MDB_INTEGERKEY, and MDB_NOSUBDIR of the environment */
enum { NODE_BIG = 1, NODE_SUBTREE = 2, NODE_DUPLICATES = 4 };
#define NO_PAGE UINT64_MAX

typedef struct tree {
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
} tree;

typedef struct meta {
    uint32_t magic, version;
    uint64_t address, map_size;
    tree trees[2];
    uint64_t last_page, transaction;
} meta;

typedef struct page_head {
    uint64_t number;
    uint16_t pad, flags;
    union {
        struct {
            uint16_t lower, upper;
        } free;
        uint32_t pages;
    } as;
} page_head;

typedef struct node_head {
    uint16_t low, high, flags, key_size;
} node_head;

typedef struct walk {
    const char *base;
    uint64_t page_size, last_page;
    unsigned char *seen; /* a bit per page */
    bool lists;          /* the records are lists of free pages, their keys numbers of transactions */
    const char *last;    /* the key before, of size last_size; NULL: none */
    size_t last_size;
    bool may_equal; /* it is one of a branch, whose first record may have it too */
    uint64_t transaction;
    const char *wrong;
} walk;

_Static_assert(sizeof(page_head) == 16 && sizeof(node_head) == 8 && sizeof(tree) == 48, "as on the disk");

static bool wrong(walk *w, const char *what)
{
    if (!w->wrong)
        w->wrong = what;
    return false;
}

/* Marks pages as used; false when they are outside or used already. */
static bool use_pages(walk *w, uint64_t first, uint64_t count)
{
    if (first < 2 || count == 0 || first > w->last_page || count > w->last_page - first + 1)
        return wrong(w, "a page number is out of range");
    for (uint64_t n = first; n < first + count; n++) {
        if (w->seen[n / 8] & 1u << n % 8)
            return wrong(w, "a page is used twice");
        w->seen[n / 8] |= (unsigned char)(1u << n % 8);
    }
    return true;
}

/* A list of free pages: their count, then their numbers. */
static bool walk_list(walk *w, const char *data, uint64_t size)
{
    uint64_t count = 0, number;
    if (size >= sizeof count)
        memcpy(&count, data, sizeof count);
    if (size < sizeof count || count > size / sizeof number - 1)
        return wrong(w, "a list of free pages is damaged");
    for (uint64_t i = 1; i <= count; i++) {
        memcpy(&number, data + i * sizeof number, sizeof number);
        if (!use_pages(w, number, 1))
            return false;
    }
    return true;
}

static uint64_t number_of(const char *key)
{
    uint64_t number;
    memcpy(&number, key, sizeof number);
    return number;
}

static int compare_keys(const walk *w, const char *a, size_t a_size, const char *b, size_t b_size)
{
    if (w->lists)
        return (number_of(a) > number_of(b)) - (number_of(a) < number_of(b));
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

/* Keys come in their order, those of branches included. */
static bool walk_key(walk *w, const char *key, size_t size, bool of_branch)
{
    if (w->lists && (size != sizeof(uint64_t) || number_of(key) > w->transaction))
        return wrong(w, "a list of free pages is not of an earlier transaction");
    int order = w->last ? compare_keys(w, w->last, w->last_size, key, size) : -1;
    if (order > 0 || (order == 0 && !w->may_equal))
        return wrong(w, "keys are not in their order");
    w->last = key;
    w->last_size = size;
    w->may_equal = of_branch;
    return true;
}

static bool walk_overflow(walk *w, uint64_t number, uint64_t size)
{
    page_head head;
    uint64_t pages = (sizeof head + size + w->page_size - 1) / w->page_size;
    if (!use_pages(w, number, pages))
        return false;
    const char *page = w->base + number * w->page_size;
    memcpy(&head, page, sizeof head);
    if (head.number != number || head.flags != PAGE_OVERFLOW || head.as.pages != pages)
        return wrong(w, "a large record is damaged");
    return !w->lists || walk_list(w, page + sizeof head, size);
}

static bool walk_leaf_node(walk *w, const node_head *node, const char *data, uint64_t room)
{
    uint64_t size = node->low | (uint64_t)node->high << 16, number;
    if (node->flags & (NODE_SUBTREE | NODE_DUPLICATES))
        return wrong(w, "a record is of an unknown kind");
    if (!(node->flags & NODE_BIG) && size > room)
        return wrong(w, "a record reaches over its page");
    if (!(node->flags & NODE_BIG))
        return !w->lists || walk_list(w, data, size);
    if (room < sizeof number)
        return wrong(w, "a record reaches over its page");
    memcpy(&number, data, sizeof number);
    return walk_overflow(w, number, size);
}

/* What a record takes of its page. */
static uint64_t node_size(const node_head *node, unsigned kind)
{
    uint64_t size = sizeof *node + node->key_size;
    if (kind == PAGE_LEAF)
        size += node->flags & NODE_BIG ? sizeof(uint64_t) : node->low | (uint64_t)node->high << 16;
    return size + size % 2;
}

static bool walk_page(walk *w, uint64_t number, unsigned levels)
{
    page_head head;
    if (levels == 0)
        return wrong(w, "a tree is deeper than it says");
    if (!use_pages(w, number, 1))
        return false;
    const char *page = w->base + number * w->page_size;
    memcpy(&head, page, sizeof head);
    unsigned kind = head.flags, lower = head.as.free.lower, upper = head.as.free.upper;
    if (head.number != number || kind != (levels == 1 ? PAGE_LEAF : PAGE_BRANCH))
        return wrong(w, "a page is not what its tree says");
    if (lower < sizeof head || lower > upper || upper > w->page_size || (lower - sizeof head) % 2)
        return wrong(w, "the bounds of a page are damaged");
    unsigned count = (lower - (unsigned)sizeof head) / 2;
    uint64_t used = 0;
    if (count < (kind == PAGE_LEAF ? 1 : 2))
        return wrong(w, "a page has too few records");
    for (unsigned i = 0; i < count; i++) {
        uint16_t offset;
        node_head node;
        memcpy(&offset, page + sizeof head + 2 * i, sizeof offset);
        if (offset < upper || offset + sizeof node > w->page_size)
            return wrong(w, "a record lies outside its page");
        memcpy(&node, page + offset, sizeof node);
        const char *key = page + offset + sizeof node;
        uint64_t room = w->page_size - offset - sizeof node;
        bool without_key = kind == PAGE_BRANCH && i == 0;
        if (node.key_size > room || (node.key_size == 0 && !without_key))
            return wrong(w, "a key reaches over its page");
        if (!without_key && !walk_key(w, key, node.key_size, kind == PAGE_BRANCH))
            return false;
        used += node_size(&node, kind);
        if (used > w->page_size - upper)
            return wrong(w, "records lie over each other");
        if (kind == PAGE_LEAF) {
            if (!walk_leaf_node(w, &node, key + node.key_size, room - node.key_size))
                return false;
        } else if (!walk_page(w, node.low | (uint64_t)node.high << 16 | (uint64_t)node.flags << 32,
                              levels - 1)) {
            return false;
        }
    }
    return true;
}

static bool walk_trees(walk *w, const meta *m)
{
    for (int i = 1; i >= 0; i--) {
        const tree *t = &m->trees[i];
        w->lists = i == 0;
        w->last = NULL;
        if (t->root == NO_PAGE)
            continue;
        if (t->depth == 0 || t->depth > DEEPEST)
            return wrong(w, "the depth of a tree is damaged");
        if (!walk_page(w, t->root, t->depth))
            return false;
    }
    return true;
}

/* ---- The file --------------------------------------------------------------------------------------- */

static lb_status read_meta(int fd, const char *path, uint64_t offset, meta *m, lb_error *error)
{
    struct {
        page_head head;
        meta meta;
    } page;
    ssize_t size = pread(fd, &page, sizeof page, (off_t)offset);
    if (size < 0)
        return lb_error_set(error, LB_SYSTEM, "%s: %s", path, strerror(errno));
    if (size < (ssize_t)sizeof page)
        return lb_error_set(error, LB_MALFORMED, "%s: truncated: expected %zu bytes at %llu, got %zd", path,
                            sizeof page, (unsigned long long)offset, size);
    *m = page.meta;
    if (!(page.head.flags & PAGE_META) || m->magic != MAGIC)
        return lb_error_set(error, offset ? LB_MALFORMED : LB_UNSUPPORTED,
                            offset ? "%s: damaged: its second page is no meta page" : "%s: no LMDB file", path);
    if (m->trees[0].flags != FREE_FLAGS)
        return lb_error_set(error, LB_MALFORMED,
                            "%s: damaged: the free pages are kept in another way (flags %x)", path,
                            m->trees[0].flags);
    if (m->trees[1].flags != 0)
        return lb_error_set(error, LB_UNSUPPORTED, "%s: an LMDB file of another kind (flags %x)", path,
                            m->trees[1].flags);
    if (m->version != DATA_VERSION)
        return lb_error_set(error, LB_UNSUPPORTED, "%s: LMDB data version %u, expected %u", path, m->version,
                            DATA_VERSION);
    return LB_OK;
}

static lb_status check_pages(int fd, const char *path, const meta *m, uint64_t page_size, lb_error *error)
{
    walk w = {.page_size = page_size, .last_page = m->last_page, .transaction = m->transaction};
    uint64_t size = (m->last_page + 1) * page_size;
    w.seen = calloc(1, (size_t)(m->last_page / 8 + 1));
    void *base = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    lb_status status = LB_OK;
    if (!w.seen || base == MAP_FAILED)
        status = lb_error_set(error, LB_NO_MEMORY, "%s: no memory for checking it", path);
    w.base = base;
    if (status == LB_OK && !walk_trees(&w, m))
        status = lb_error_set(error, LB_MALFORMED, "%s: damaged: %s", path, w.wrong);
    if (base != MAP_FAILED)
        munmap(base, (size_t)size);
    free(w.seen);
    return status;
}

lb_status check_file(const char *path, bool whole, lb_error *error)
{
    struct stat about;
    meta metas[2];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return LB_OK;
    lb_status status = LB_OK;
    if (fd < 0 || fstat(fd, &about) != 0)
        status = lb_error_set(error, errno == EACCES ? LB_ACCESS : LB_SYSTEM, "%s: %s", path, strerror(errno));
    if (status != LB_OK || about.st_size == 0)
        goto out;
    status = read_meta(fd, path, 0, &metas[0], error);
    uint64_t page_size = status == LB_OK ? metas[0].trees[0].pad : 0; /* the free tree's pad holds it */
    if (status == LB_OK && page_size != (uint64_t)sysconf(_SC_PAGESIZE))
        status = lb_error_set(error, LB_UNSUPPORTED, "%s: made with pages of %llu bytes, this machine has %ld",
                              path, (unsigned long long)page_size, sysconf(_SC_PAGESIZE));
    if (status == LB_OK)
        status = read_meta(fd, path, page_size, &metas[1], error);
    if (status == LB_OK && metas[1].trees[0].pad != page_size)
        status =
            lb_error_set(error, LB_MALFORMED, "%s: damaged: its meta pages differ in the size of a page", path);
    if (status != LB_OK)
        goto out;
    const meta *newest = &metas[metas[1].transaction > metas[0].transaction];
    if ((newest->transaction & 1) != (uint64_t)(newest - metas))
        status = lb_error_set(error, LB_MALFORMED, "%s: damaged: a meta page is in the other's place", path);
    else if (newest->last_page >= INT64_MAX / page_size ||
             (newest->last_page + 1) * page_size > (uint64_t)about.st_size)
        status = lb_error_set(error, LB_MALFORMED, "%s: truncated: expected %llu pages, the file has %llu",
                              path, (unsigned long long)newest->last_page + 1,
                              (unsigned long long)about.st_size / page_size);
    else if (whole && newest->last_page >= 2)
        status = check_pages(fd, path, newest, page_size, error);
out:
    if (fd >= 0)
        close(fd);
    return status;
}
