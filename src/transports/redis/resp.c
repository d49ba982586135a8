/* RESP with hiredis's reader. Invariant: a reply that is being read lives in the parser's arena, so the arena
 * is only emptied while the reader holds none. */
#include "resp.h"

#include <stdarg.h>
#include <stdio.h>

enum { KEEP_ARENA = 256 * 1024, KEEP_INPUT = 256 * 1024 };

bool reply_is_error_of(const reply *r, const char *code)
{
    lb_slice text = reply_text(r);
    size_t size = strlen(code);
    return reply_is_error(r) && text.size >= size && memcmp(text.data, code, size) == 0;
}

size_t reply_count(const reply *r)
{
    size_t count = 0;
    for (const reply *element = reply_first(r); element; element = element->next)
        count++;
    return count;
}

const reply *reply_field(const reply *list, const char *name)
{
    size_t size = strlen(name);
    for (const reply *f = reply_first(list); f && f->next; f = f->next->next) {
        lb_slice text = reply_text(f);
        if (text.size == size && memcmp(text.data, name, size) == 0)
            return f->next;
    }
    return NULL;
}

/* ---- Objects for hiredis ---------------------------------------------------------------------------- */

/* Room for a reply and its text in one piece, linked into the array that it belongs to. */
static reply *new_reply(const redisReadTask *task, int type, size_t extra)
{
    reply_parser *p = task->privdata;
    size_t size = (sizeof(reply) + extra + 15) & ~(size_t)15;
    reply *r;
    if ((size_t)(p->arena.end - p->arena.at) >= size) {
        r = (reply *)(void *)p->arena.at;
        p->arena.at += size;
    } else if (!(r = arena_alloc(&p->arena, size))) {
        return NULL;
    }
    r->type = type;
    r->next = NULL;
    if (task->parent) {
        reply *array = task->parent->obj;
        if (array->as.array.last)
            array->as.array.last->next = r;
        else
            array->as.array.first = r;
        array->as.array.last = r;
    }
    return r;
}

static void *create_string(const redisReadTask *task, char *text, size_t size)
{
    const reply_parser *p = task->privdata;
    bool kept = size <= p->most;
    reply *r = new_reply(task, task->type, kept ? size + 1 : 0);
    if (!r)
        return NULL;
    char *copy = (char *)(r + 1);
    if (kept) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    r->as.text = (lb_slice){kept ? copy : NULL, size};
    return r;
}

static void *create_integer(const redisReadTask *task, long long value)
{
    reply *r = new_reply(task, REDIS_REPLY_INTEGER, 0);
    if (r)
        r->as.integer = value;
    return r;
}

static void *create_nil(const redisReadTask *task) { return new_reply(task, REDIS_REPLY_NIL, 0); }

static reply *new_array(const redisReadTask *task)
{
    reply *r = new_reply(task, REDIS_REPLY_ARRAY, 0);
    if (r)
        r->as.array.first = r->as.array.last = NULL;
    return r;
}

static void leave_to_arena(void *object) { (void)object; }

/* hiredis 1.0 counts in size_t, and reads RESP3 as well, which nobody asked the server for: a type without a
 * function would come out as a number in place of a pointer. */
#ifdef REDIS_REPLY_DOUBLE
static void *create_array(const redisReadTask *task, size_t count)
{
    (void)count;
    return new_array(task);
}

static void *create_double(const redisReadTask *task, double value, char *text, size_t size)
{
    (void)value;
    return create_string(task, text, size);
}

static void *create_bool(const redisReadTask *task, int value) { return create_integer(task, value); }
#else
static void *create_array(const redisReadTask *task, int count)
{
    (void)count;
    return new_array(task);
}
#endif

static redisReplyObjectFunctions object_functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = leave_to_arena,
#ifdef REDIS_REPLY_DOUBLE
    .createDouble = create_double,
    .createBool = create_bool,
#endif
};

/* ---- Parser ----------------------------------------------------------------------------------------- */

bool parser_open(reply_parser *p, size_t most)
{
    if (p->reader)
        redisReaderFree(p->reader);
    p->most = most;
    p->reader = redisReaderCreateWithFunctions(&object_functions);
    if (!p->reader)
        return false;
    p->reader->privdata = p;
    p->reader->maxbuf = KEEP_INPUT;
    return true;
}

void parser_close(reply_parser *p)
{
    if (p->reader)
        redisReaderFree(p->reader);
    p->reader = NULL;
    arena_free(&p->arena);
}

bool parser_feed(reply_parser *p, const char *data, size_t size)
{
    return redisReaderFeed(p->reader, data, size) == REDIS_OK;
}

const reply *parser_next(reply_parser *p, bool *failed)
{
    void *object = NULL;
    *failed = redisReaderGetReply(p->reader, &object) != REDIS_OK;
    return *failed ? NULL : object;
}

void parser_release(reply_parser *p)
{
    if (p->reader && !p->reader->reply)
        arena_reset(&p->arena, KEEP_ARENA);
}

/* ---- Commands --------------------------------------------------------------------------------------- */

enum { HEADER_MOST = 24 };

/* Writes "$123\r\n" and returns its end; HEADER_MOST bytes of room are there. */
static char *put_header(char *out, char mark, size_t number)
{
    char text[HEADER_MOST], *end = text + sizeof text, *at = end;
    *out++ = mark;
    if (number < 100) {
        if (number >= 10)
            *out++ = (char)('0' + number / 10);
        *out++ = (char)('0' + number % 10);
    } else {
        do
            *--at = (char)('0' + number % 10);
        while (number /= 10);
        memcpy(out, at, (size_t)(end - at));
        out += end - at;
    }
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

static char *put(char *out, const char *data, size_t size)
{
    if (size)
        memcpy(out, data, size);
    return out + size;
}

void command_begin(buffer *b, size_t arguments)
{
    if (buffer_room(b, HEADER_MOST))
        b->size = (size_t)(put_header(b->data + b->size, '*', arguments) - b->data);
}

void command_arg(buffer *b, const char *data, size_t size)
{
    if (size > SIZE_MAX / 2 || !buffer_room(b, size + HEADER_MOST + 2)) {
        b->failed = true;
        return;
    }
    char *at = put(put_header(b->data + b->size, '$', size), data, size);
    *at++ = '\r';
    *at++ = '\n';
    b->size = (size_t)(at - b->data);
}

void command_int(buffer *b, int64_t value)
{
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    char text[24], *end = text + sizeof text, *at = end;
    do
        *--at = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0)
        *--at = '-';
    command_arg(b, at, (size_t)(end - at));
}

void command_prefixed(buffer *b, const char *prefix, lb_slice text)
{
    size_t prefix_size = strlen(prefix), size = prefix_size + text.size;
    if (size > SIZE_MAX / 2 || !buffer_room(b, size + HEADER_MOST + 2)) {
        b->failed = true;
        return;
    }
    char *at = put_header(b->data + b->size, '$', size);
    at = put(put(at, prefix, prefix_size), text.data, text.size);
    *at++ = '\r';
    *at++ = '\n';
    b->size = (size_t)(at - b->data);
}

void command_of(buffer *b, ...)
{
    va_list args;
    size_t count = 0;
    va_start(args, b);
    while (va_arg(args, const char *))
        count++;
    va_end(args);
    command_begin(b, count);
    va_start(args, b);
    while (count--)
        command_str(b, va_arg(args, const char *));
    va_end(args);
}
