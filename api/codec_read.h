/* What the decoders share: reading one member of a document, or refusing it by its path. Internal
 * to the codec. */
#ifndef ASSENT_API_CODEC_READ_H
#define ASSENT_API_CODEC_READ_H

#include "api/codec.h"

/* Where a value stands, as a chain up to the root (NULL) that lives on the decoders' stack; it is
 * put into words only when something is refused. */
struct api_at {
    const struct api_at *up;
    const char *name; /* NULL: an element */
    size_t index;
};
#define API_AT(parent, member)  (&(const struct api_at){.up = (parent), .name = (member)})
#define API_AT_INDEX(parent, i) (&(const struct api_at){.up = (parent), .index = (i)})
#define API_COUNT(array)        (sizeof(array) / sizeof((array)[0]))
#define API_SAFE_INTEGER_MAX    UINT64_C(9007199254740991) /* 2^53 - 1 */

/* Fill @reterr (may be NULL); returns @rc. The words go on from the name of the field: "must be a
 * string". */
enum tpc_rc api_refuse(struct api_refusal *reterr, const struct api_at *at, enum tpc_rc rc,
                       const char *format, ...) TPC_PRINTF(4, 5);
enum tpc_rc api_refuse_memory(struct api_refusal *reterr);
/* Say the refusal as an error of one line. */
enum tpc_rc api_refusal_to_err(const struct api_refusal *refusal, struct tpc_err *reterr);

/* Parse a whole body; free *ret_root. */
TPC_NODISCARD enum tpc_rc api_document_parse(const char *body, size_t size,
                                             struct api_json **ret_root,
                                             struct api_refusal *reterr);

/* Sort the members of the object @value by @names into @ret_members (NULL: absent). One that is not
 * among them is refused, or with open skipped (and null taken for absent). Every value below may be
 * NULL, for absent: it is then refused as required. */
struct api_members {
    const char *const *names;
    size_t count;
    bool open;
};
TPC_NODISCARD enum tpc_rc api_members_read(const struct api_json *value, const struct api_at *at,
                                           const struct api_members *members,
                                           const struct api_json **ret_members,
                                           struct api_refusal *reterr);

TPC_NODISCARD enum tpc_rc api_type_read(const struct api_json *value, const struct api_at *at,
                                        enum api_json_type type, struct api_refusal *reterr);
/* Borrowed from the document. */
TPC_NODISCARD enum tpc_rc api_string_read(const struct api_json *value, const struct api_at *at,
                                          const char **ret_text, struct api_refusal *reterr);
/* A copy of a string of @min to @max characters (not bytes); the caller frees. */
TPC_NODISCARD enum tpc_rc api_text_read(const struct api_json *value, const struct api_at *at,
                                        size_t min, size_t max, char **ret_text,
                                        struct api_refusal *reterr);
TPC_NODISCARD enum tpc_rc api_u64_read(const struct api_json *value, const struct api_at *at,
                                       uint64_t min, uint64_t max, uint64_t *ret_value,
                                       struct api_refusal *reterr);
TPC_NODISCARD enum tpc_rc api_bool_read(const struct api_json *value, const struct api_at *at,
                                        bool *ret_value, struct api_refusal *reterr);
TPC_NODISCARD enum tpc_rc api_id_read(const struct api_json *value, const struct api_at *at,
                                      struct tpc_id *ret_id, struct api_refusal *reterr);
/* The index in @names (some may be NULL) of a string. */
TPC_NODISCARD enum tpc_rc api_choice_read(const struct api_json *value, const struct api_at *at,
                                          const char *const *names, size_t count, int *ret_choice,
                                          struct api_refusal *reterr);
/* An array of @min to @max elements. */
TPC_NODISCARD enum tpc_rc api_array_read(const struct api_json *value, const struct api_at *at,
                                         size_t min, size_t max, size_t *ret_count,
                                         struct api_refusal *reterr);
/* An array of at most @max ids; the caller frees *ret_ids (NULL when there is none). */
TPC_NODISCARD enum tpc_rc api_ids_read(const struct api_json *value, const struct api_at *at,
                                       size_t max, struct tpc_id **ret_ids, size_t *ret_count,
                                       struct api_refusal *reterr);

/* Zeros replaced by the defaults of struct api_codec_limits. */
struct api_codec_limits api_limits_or_defaults(const struct api_codec_limits *limits);

/* ---- Parts of several documents ---- */

extern const char *const api_op_names[];        /* by enum api_op */
extern const char *const api_isolation_names[]; /* by enum api_isolation */
#define API_ISOLATION_COUNT 2
extern const char *const api_outcome_names[]; /* by enum api_outcome */
#define API_OUTCOME_COUNT 3

/* The array of statements. With @ret_statements NULL it is only checked. What was read before a
 * refusal is left for the caller to free. */
TPC_NODISCARD enum tpc_rc api_statements_read(const struct api_json *value, const struct api_at *at,
                                              const struct api_codec_limits *limits,
                                              struct api_statements *ret_statements,
                                              struct api_refusal *reterr);
/* One parameter; with @ret_value NULL it is only checked. */
TPC_NODISCARD enum tpc_rc api_value_read(const struct api_json *value, const struct api_at *at,
                                         struct api_value *ret_value, struct api_refusal *reterr);

/* {"id", "url", "generation", "nonce"}; the url may be left out unless @needs_url. */
TPC_NODISCARD enum tpc_rc api_coordinator_read(const struct api_json *value,
                                               const struct api_at *at, bool needs_url,
                                               struct api_coordinator *ret_coordinator,
                                               struct api_refusal *reterr);
/* The same as the member "coordinator"; without url when it is "". */
void api_coordinator_write(struct tpc_buf *out, const struct api_coordinator *coordinator);

#endif
