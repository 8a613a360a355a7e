/* The JSON reader. cJSON builds the tree; before it runs, a scan of the text (json_scan.c) refuses
 * what cJSON lets pass, and notes the numbers that a double cannot hold. Those get their own
 * spelling back afterwards, in valuestring, which cJSON leaves NULL for numbers: scan and tree meet
 * the numbers in the same order.
 *
 * A tree is made and dropped as a whole, so that its memory is a few chunks of its own. */
#include "api/json.h"
#include "api/json_scan.h"

#include "base/tpc_assert.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SAFE_INTEGER_MAX 9007199254740991.0 /* 2^53 - 1 */
#define FEW_MEMBERS      16                 /* so many are compared in pairs, more are sorted */

static const cJSON *node(const struct api_json *value)
{
    return (const cJSON *)value;
}

static const struct api_json *json(const cJSON *item)
{
    return (const struct api_json *)item;
}

static int kind(const struct api_json *value)
{
    return value ? node(value)->type & 0xFF : cJSON_Invalid;
}

/* ---- The memory of a tree ---- */

enum { CHUNK_FIRST_MAX = 64 << 10, CHUNK_MAX = 1 << 20, ALIGNMENT = 16 };

struct chunk {
    struct chunk *older;
    size_t size, used; /* of bytes */
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

static _Thread_local struct chunk *newest; /* of the tree that is being made */

static struct chunk *add_chunk(size_t size)
{
    struct chunk *chunk = malloc(sizeof *chunk + size);
    if (chunk) {
        chunk->older = newest;
        chunk->size = size;
        chunk->used = 0;
        newest = chunk;
    }
    return chunk;
}

static void *CJSON_CDECL take(size_t size)
{
    struct chunk *chunk = newest;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (size > chunk->size - chunk->used) {
        size_t more = chunk->size < CHUNK_MAX / 2 ? 2 * chunk->size : CHUNK_MAX;
        chunk = add_chunk(more > size ? more : size);
        if (!chunk) {
            return NULL;
        }
    }
    void *memory = chunk->bytes + chunk->used;
    chunk->used += size;
    return memory;
}

static void CJSON_CDECL give(void *memory)
{
    (void)memory; /* with the others */
}

static void set_hooks(void)
{
    cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = take, .free_fn = give});
}

/* A root knows its chunks: they are chained behind the link that precedes it. */
struct root_link {
    _Alignas(ALIGNMENT) struct chunk *newest;
};

static struct root_link *begin_tree(size_t text_size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, set_hooks);
    newest = NULL;
    size_t size = 8 * text_size + 256; /* most trees take less */
    return add_chunk(size < CHUNK_FIRST_MAX ? size : CHUNK_FIRST_MAX)
               ? take(sizeof(struct root_link))
               : NULL;
}

static void free_chunks(struct chunk *chunk)
{
    while (chunk) {
        struct chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
}

/* ---- After parsing: duplicate names, and the spelling of odd numbers ---- */

struct settle {
    const char *text;
    const struct api_odd_number *odd;
    size_t odd_left;
    size_t numbers;
    struct tpc_err *reterr;
};

static enum tpc_rc duplicate(const struct settle *settle, const char *name)
{
    return tpc_fail(settle->reterr, TPC_ESYNTAX,
                    "malformed JSON: member \"%.60s\" stands twice in one object", name);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum tpc_rc check_many_names(const struct settle *settle, const cJSON *object, size_t count)
{
    const char **names = malloc(count * sizeof(*names));
    if (!names) {
        return tpc_fail(settle->reterr, TPC_ENOMEM, "no memory to read JSON");
    }
    size_t i = 0;
    for (const cJSON *member = object->child; member; member = member->next) {
        names[i++] = member->string;
    }
    qsort(names, count, sizeof(*names), compare_names);
    enum tpc_rc rc = TPC_OK;
    for (i = 1; !rc && i < count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            rc = duplicate(settle, names[i]);
        }
    }
    free(names);
    return rc;
}

static enum tpc_rc check_names(const struct settle *settle, const cJSON *object)
{
    size_t count = 0;
    for (const cJSON *member = object->child; member; member = member->next) {
        if (++count > FEW_MEMBERS) {
            continue;
        }
        for (const cJSON *earlier = object->child; earlier != member; earlier = earlier->next) {
            if (strcmp(earlier->string, member->string) == 0) {
                return duplicate(settle, member->string);
            }
        }
    }
    return count > FEW_MEMBERS ? check_many_names(settle, object, count) : TPC_OK;
}

static enum tpc_rc settle_number(struct settle *settle, cJSON *number)
{
    if (settle->odd_left == 0 || settle->odd->ordinal != settle->numbers++) {
        return TPC_OK;
    }
    number->valuestring = take(settle->odd->size + 1);
    if (!number->valuestring) {
        return tpc_fail(settle->reterr, TPC_ENOMEM, "no memory to read JSON");
    }
    memcpy(number->valuestring, settle->text + settle->odd->offset, settle->odd->size);
    number->valuestring[settle->odd->size] = '\0';
    settle->odd++;
    settle->odd_left--;
    return TPC_OK;
}

static enum tpc_rc settle_value(struct settle *settle, cJSON *item)
{
    int type = item->type & 0xFF;
    if (type == cJSON_Number) {
        return settle_number(settle, item);
    }
    enum tpc_rc rc = type == cJSON_Object ? check_names(settle, item) : TPC_OK;
    for (cJSON *child = item->child; !rc && child; child = child->next) {
        rc = settle_value(settle, child);
    }
    return rc;
}

enum tpc_rc api_json_parse(const char *text, size_t size, struct api_json **ret_root,
                           struct tpc_err *reterr)
{
    struct api_odd_numbers odd = {0};
    enum tpc_rc rc = api_json_scan(text, size, &odd, reterr);
    if (rc) {
        return rc;
    }
    struct root_link *link = begin_tree(size);
    cJSON *root = link ? cJSON_ParseWithLength(text, size) : NULL;
    if (root) {
        struct settle settle = {
            .text = text, .odd = odd.items, .odd_left = odd.count, .reterr = reterr};
        TPC_ASSERT((void *)root == link + 1);
        rc = settle_value(&settle, root);
    } else {
        rc = tpc_fail(reterr, TPC_ENOMEM, "no memory to read JSON");
    }
    free(odd.items);
    if (rc) {
        free_chunks(newest);
        return rc;
    }
    link->newest = newest;
    *ret_root = (struct api_json *)root;
    return TPC_OK;
}

void api_json_free(struct api_json *root)
{
    if (root) {
        free_chunks(((struct root_link *)root - 1)->newest);
    }
}

/* ---- Looking ---- */

enum api_json_type api_json_type(const struct api_json *value)
{
    switch (kind(value)) {
    case cJSON_False:
    case cJSON_True:
        return API_JSON_BOOL;
    case cJSON_Number:
        return API_JSON_NUMBER;
    case cJSON_String:
        return API_JSON_STRING;
    case cJSON_Array:
        return API_JSON_ARRAY;
    case cJSON_Object:
        return API_JSON_OBJECT;
    default:
        return API_JSON_NULL;
    }
}

const char *api_json_type_name(enum api_json_type type)
{
    static const char *const names[] = {
        [API_JSON_NULL] = "null",       [API_JSON_BOOL] = "true or false",
        [API_JSON_NUMBER] = "a number", [API_JSON_STRING] = "a string",
        [API_JSON_ARRAY] = "an array",  [API_JSON_OBJECT] = "an object",
    };
    return names[type];
}

const char *api_json_string(const struct api_json *value)
{
    return kind(value) == cJSON_String ? node(value)->valuestring : NULL;
}

double api_json_number(const struct api_json *value)
{
    return kind(value) == cJSON_Number ? node(value)->valuedouble : 0;
}

bool api_json_bool(const struct api_json *value)
{
    return kind(value) == cJSON_True;
}

bool api_json_is_unsafe_integer(const struct api_json *value)
{
    return kind(value) == cJSON_Number && node(value)->valuestring &&
           isfinite(node(value)->valuedouble);
}

bool api_json_u64(const struct api_json *value, uint64_t *ret_value)
{
    double number = api_json_number(value);
    if (kind(value) != cJSON_Number || !(number >= 0 && number <= SAFE_INTEGER_MAX) ||
        number != trunc(number)) {
        return false;
    }
    *ret_value = (uint64_t)number;
    return true;
}

const struct api_json *api_json_get(const struct api_json *object, const char *name)
{
    if (kind(object) != cJSON_Object) {
        return NULL;
    }
    for (const cJSON *member = node(object)->child; member; member = member->next) {
        if (strcmp(member->string, name) == 0) {
            return json(member);
        }
    }
    return NULL;
}

size_t api_json_count(const struct api_json *array)
{
    size_t count = 0;
    for (const struct api_json *item = api_json_first(array); item; item = api_json_next(item)) {
        count++;
    }
    return count;
}

const struct api_json *api_json_first(const struct api_json *array_or_object)
{
    return array_or_object ? json(node(array_or_object)->child) : NULL;
}

const struct api_json *api_json_next(const struct api_json *value)
{
    return json(node(value)->next);
}

const char *api_json_name(const struct api_json *member)
{
    return node(member)->string;
}

/* ---- Printing ---- */

static void print_children(struct tpc_buf *out, const struct api_json *value, bool object)
{
    api_jw_open(out, object ? '{' : '[');
    for (const struct api_json *child = api_json_first(value); child;
         child = api_json_next(child)) {
        if (object) {
            api_jw_key(out, api_json_name(child));
        }
        api_json_print(out, child);
    }
    api_jw_close(out, object ? '}' : ']');
}

static void print_number(struct tpc_buf *out, const struct api_json *value)
{
    const char *spelling = node(value)->valuestring;
    if (spelling) {
        api_jw_raw(out, spelling, strlen(spelling));
    } else {
        api_jw_double(out, node(value)->valuedouble);
    }
}

void api_json_print(struct tpc_buf *out, const struct api_json *value)
{
    switch (api_json_type(value)) {
    case API_JSON_NULL:
        api_jw_null(out);
        break;
    case API_JSON_BOOL:
        api_jw_bool(out, api_json_bool(value));
        break;
    case API_JSON_NUMBER:
        print_number(out, value);
        break;
    case API_JSON_STRING:
        api_jw_str(out, api_json_string(value));
        break;
    case API_JSON_ARRAY:
        print_children(out, value, false);
        break;
    case API_JSON_OBJECT:
        print_children(out, value, true);
        break;
    }
}
